import numpy as np
import pytest

from irnet_ray.report.panels import CAPTION, GAP, SIDE, panel, sheet


def made(height, width, tags=("cat", "dog"), instances=2, stride=4):
    rng = np.random.default_rng(0)
    h, w = -(-height // stride), -(-width // stride)
    masks = [np.zeros((height, width), bool) for _ in range(instances)]
    for number, mask in enumerate(masks):
        mask[:, number * width // max(instances, 1) : (number + 1) * width // max(instances, 1)] = True
    return {
        "image": rng.integers(0, 255, (height, width, 3), dtype=np.uint8),
        "cams": rng.random((len(tags), height, width)),
        "field": rng.normal(0, 5, (2, h, w)),
        "boundary": rng.random((h, w)),
        "instances": [(mask, f"class {n}", 0.5) for n, mask in enumerate(masks)],
        "tags": tags,
    }


@pytest.mark.parametrize("size", [(192, 256), (375, 500), (501, 333), (1, 1), (5, 900), (2000, 30)])
@pytest.mark.parametrize("instances", [0, 1, 7])
def test_any_size_and_any_number_of_instances(size, instances):
    row = panel(**made(*size, instances=instances))
    scale = SIDE / max(size)
    width, height = (max(1, round(side * scale)) for side in (size[1], size[0]))
    assert row.mode == "RGB"
    assert row.size == (5 * (width + GAP) + GAP, height + CAPTION + GAP)


def test_no_tags_and_very_many_long_ones():
    panel(**made(60, 80, tags=()))
    panel(**made(60, 80, tags=[f"a very long name indeed, and number {n} of them" for n in range(60)]))


def test_tiles_show_what_was_given():
    """A 320 px square image, so that tiles are not resized: the left half is an instance, and boundary."""
    given = made(320, 320, tags=("cat",), instances=0)
    given["image"][:] = 200
    given["cams"][:] = 0
    given["cams"][0, :, 160:] = 1
    given["field"][:] = 0
    given["boundary"][:] = 0
    given["boundary"][:, :40] = 1
    mask = np.zeros((320, 320), bool)
    mask[:, :160] = True
    given["instances"] = [(mask, "cat", 0.75)]
    row = np.asarray(panel(**given)).astype(int)
    tiles = [row[CAPTION : CAPTION + 320, GAP + n * (320 + GAP) :][:, :320] for n in range(5)]
    assert (tiles[0] == 200).all()
    assert (tiles[1][300, 50] == 120).all(), "no attention: dark gray"
    assert np.ptp(tiles[1][300, 250]) > 50, "attention: coloured"
    assert (tiles[2] == 255).all(), "nothing moves"
    assert (tiles[3][:, :150] == 0).all()
    assert (tiles[3][:, 170:] == 255).all()
    assert np.ptp(tiles[4][300, 50]) > 20, "inside: tinted"
    assert (tiles[4][300, 250] == 150).all(), "outside: the image, darker"
    edge, inner = tiles[4][300, 159], tiles[4][300, 150]
    assert np.ptp(edge) > np.ptp(inner), "the outline is the colour itself"


def test_an_empty_mask_is_no_trouble():
    given = made(20, 30, instances=1)
    given["instances"][0][0][:] = False
    panel(**given)


def test_sheet_stacks_rows_of_any_width():
    rows = [panel(**made(40, 80)), panel(**made(80, 40))]
    page = sheet(rows)
    assert page.size == (max(r.width for r in rows), rows[0].height + rows[1].height)
    assert page.getpixel((page.width - 1, page.height - 1)) == (255, 255, 255)
    assert page.crop((0, 0, *rows[0].size)).tobytes() == rows[0].tobytes()
    with pytest.raises(ValueError, match="at least one panel"):
        sheet([])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.zeros((40, 60), np.uint8)}, r"uint8 \(H, W, 3\), got uint8 \(40, 60\)"),
        ({"image": np.zeros((40, 60, 3))}, "got float64"),
        ({"cams": np.zeros((2, 10, 15))}, r"CAMs \(2, 40, 60\) .* got \(2, 10, 15\)"),
        ({"boundary": np.zeros((11, 15))}, r"got \(2, 10, 15\) and \(11, 15\)"),
        (
            {"instances": [(np.zeros((10, 15), bool), "cat", 1.0)]},
            r"masks \(40, 60\) .* got \(10, 15\) for cat",
        ),
    ],
)
def test_what_does_not_fit(changed, message):
    with pytest.raises(ValueError, match=message):
        panel(**{**made(40, 60), **changed})
