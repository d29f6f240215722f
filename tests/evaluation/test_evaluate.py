import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from irnet_ray.errors import UserError
from irnet_ray.evaluation.average_precision import TruthInstance
from irnet_ray.evaluation.evaluate import evaluate_rows, found_in_seeds
from irnet_ray.evaluation.truth import Truth, TruthImage, load_truth
from irnet_ray.masks import encode_cam, encode_png

PHOTOS = Path(os.environ.get("IRNET_RAY_PHOTOS") or Path(__file__).parents[3] / "shared" / "photos")
HEIGHT, WIDTH = 24, 30  # 6 x 8 cells: the last column is half outside


def block(top, left, height, width, size=(HEIGHT, WIDTH)):
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def encoded(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


def label_row(image_id, tags, instances, semantic):
    return {
        "image_id": image_id,
        "tags": tags,
        "height": semantic.shape[0],
        "width": semantic.shape[1],
        "instances": [
            {"class_name": name, "score": score, "quality": score, "rle": encoded(mask)["counts"].decode()}
            for name, score, mask in instances
        ],
        "semantic": encode_png(semantic.astype(np.uint8)),
    }


def seed_row(image_id, class_ids, cam, size=(HEIGHT, WIDTH)):
    mined = encode_png(np.zeros(size, np.uint8))
    return {
        "image_id": image_id,
        "class_ids": class_ids,
        **encode_cam(cam),
        "attention": None,
        "confident_map": mined,
    }


def true(image_id, name, mask, crowd=False):
    return TruthInstance(image_id, name, encoded(mask), crowd)


LEFT, RIGHT = block(0, 0, 24, 12), block(0, 18, 24, 12)


@pytest.fixture
def truth():
    return Truth(
        {
            "a": TruthImage(HEIGHT, WIDTH, [true("a", "cat", LEFT), true("a", "dog", RIGHT)]),
            "b": TruthImage(HEIGHT, WIDTH, [true("b", "cat", RIGHT)]),
            "outside": TruthImage(HEIGHT, WIDTH, [true("outside", "cow", RIGHT)]),
        }
    )


def run(labels, seeds, truth, images=("a", "b"), ablation=None):
    vocabulary = ["cat", "dog", "emu"]
    return evaluate_rows(labels, seeds, truth, image_ids=set(images), vocabulary=vocabulary, ablation=ablation)


ALL_RIGHT = {"ap50": 1, "ap70": 1, "ap50_any_class": 1, "miou": 1, "precision": 1, "recall": 1}


def means(scores):
    return {name: figure.value for name, figure in scores.figures.items()}


def test_perfect_labels_and_a_cam_that_merges(truth):
    labels = [
        label_row("a", ["dog", "cat"], [("cat", 0.9, LEFT), ("dog", 0.8, RIGHT)], 2 * LEFT + RIGHT),
        label_row("b", ["cat"], [("cat", 0.7, RIGHT)], RIGHT),
        label_row("no truth", ["cat"], [("cat", 1.0, LEFT)], LEFT),
    ]
    merged = np.ones((1, 6, 8))  # one part, all of the image
    seeds = [seed_row("a", [0], merged), seed_row("b", [0], merged), seed_row("no truth", [0], merged)]
    result = run(labels, seeds, truth)
    made, cam = result.variants["labels"], result.variants["CAM"]
    assert means(made) == ALL_RIGHT
    assert (made.images, made.instances) == (2, 3)
    assert cam.classes["ap50"] == {"cat": 0, "dog": 0}
    pixels = HEIGHT * WIDTH
    share = 12 / WIDTH
    assert cam.classes["iou"] == pytest.approx({"background": 0, "cat": share, "dog": 0})
    assert result.truth_instances == {"cat": 2, "dog": 1}
    assert (result.images, result.images_outside_run) == (2, 1)
    assert pixels * share == LEFT.sum()


def test_a_failed_image_counts_as_one_where_nothing_was_found(truth):
    labels = [label_row("a", ["cat", "dog"], [("cat", 0.9, LEFT), ("dog", 0.8, RIGHT)], LEFT + 2 * RIGHT)]
    result = run(labels, [], truth)
    made, cam = result.variants["labels"], result.variants["CAM"]
    assert made.images == 1
    assert made.classes["ap50"] == {"cat": 0.5, "dog": 1}
    background = 6 + 18  # columns that are background in truth, of images a and b; in b all 30 are predicted
    assert made.classes["iou"] == pytest.approx({"background": background / (6 + 30), "cat": 0.5, "dog": 1})
    assert cam.figures["ap50"].value == 0
    assert cam.images == 0


def test_a_class_without_truth_is_wrong_and_no_row(truth):
    labels = [
        label_row("a", ["emu"], [("emu", 0.9, LEFT)], LEFT),
        label_row("b", ["cat"], [("cat", 0.9, RIGHT)], RIGHT),
    ]
    result = run(labels, [], truth)
    made = result.variants["labels"]
    assert set(made.classes["iou"]) == {"background", "cat", "dog"}
    assert made.classes["ap50"] == {"cat": 0.5, "dog": 0}
    assert made.figures["ap50_any_class"].value == pytest.approx(2 / 3)  # the emu is a true thing of another name
    assert made.classes["iou"] == pytest.approx({"background": 24 / (24 + 12), "cat": 0.5, "dog": 0})


def test_the_cam_is_spread_by_four_cropped_and_cut(truth):
    cam = np.zeros((2, 6, 8), np.float32)
    cam[1, :, :3] = 1  # cells 0..2, that is pixels 0..11; linear between centres: 0.25 is crossed at pixel 13
    found = found_in_seeds(seed_row("a", [1, 0], cam), truth.images["a"], ["cat", "dog"])
    assert found.tags == ["dog", "cat"]
    (instance,) = found.instances
    assert (instance.class_name, instance.score) == ("cat", 1.0)
    assert np.array_equal(coco.decode(instance.rle), block(0, 0, HEIGHT, 13))
    assert np.array_equal(found.semantic, 2 * block(0, 0, HEIGHT, 13))


def test_an_image_without_tags_or_attention(truth):
    for cam, ids in [(np.zeros((0, 6, 8)), []), (np.zeros((1, 6, 8)), [0])]:
        found = found_in_seeds(seed_row("a", ids, cam), truth.images["a"], ["cat"])
        assert found.instances == []
        assert found.semantic.shape == (HEIGHT, WIDTH)
        assert not found.semantic.any()


def test_crowds_are_unknown_pixels():
    crowd = true("a", "cow", RIGHT, crowd=True)
    truth = Truth({"a": TruthImage(HEIGHT, WIDTH, [true("a", "cat", LEFT), crowd])})
    labels = [label_row("a", ["cat", "cow"], [("cat", 0.5, LEFT), ("cow", 0.9, RIGHT)], LEFT + 2 * RIGHT)]
    result = run(labels, [], truth)
    made = result.variants["labels"]
    assert means(made) == ALL_RIGHT
    assert result.truth_instances == {"cat": 1}


def test_truth_without_a_single_instance():
    result = run([], [], Truth({"a": TruthImage(HEIGHT, WIDTH)}))
    made = result.variants["labels"]
    assert made.classes["iou"] == {"background": 1}
    assert math.isnan(made.figures["ap50"].value)


def test_what_does_not_fit(truth):
    good = label_row("a", ["cat"], [], LEFT)
    with pytest.raises(UserError, match="None of the 3 file names of the truth .*such as a.* run .*such as x.jpg"):
        run([], [], truth, images=["x.jpg"])
    with pytest.raises(UserError, match="None of the 3"):
        run([], [], truth, images=[])
    with pytest.raises(UserError, match="a has two rows"):
        run([good, good], [], truth)
    with pytest.raises(UserError, match="a has 24 x 30 pixels, and its truth 30 x 24"):
        run([label_row("a", ["cat"], [], LEFT.T)], [], truth)
    with pytest.raises(UserError, match="CAM of a is of an image of 24 x 30 pixels, and its truth of one of 30 x 24"):
        run([], [seed_row("a", [0], np.ones((1, 8, 6)), (30, 24))], truth)


def test_the_cam_of_an_image_worked_on_at_half_size_is_spread_over_the_whole(truth):
    cam = np.zeros((1, 3, 4))
    cam[0, :, 2:] = 1
    found = found_in_seeds(seed_row("b", [0], cam, (12, 15)), truth.images["b"], ["cat"])
    assert found.semantic.shape == (HEIGHT, WIDTH)
    assert found.semantic[:, -10:].all() and not found.semantic[:, :10].any()


def ablation_row(image_id, tags, instances, semantic):
    """A row whose CAM attends to everything, for its last tag alone."""
    row = label_row(image_id, tags, instances, semantic)
    cam = np.zeros((len(tags), 6, 8))
    cam[-1] = 1
    return {
        **seed_row(image_id, [["cat", "dog", "emu"].index(tag) for tag in tags], cam),
        **{key: row[key] for key in ("image_id", "tags", "width", "height")},
        "boundary_instances": row["instances"],
        "affinitynet_semantic": row["semantic"],
    }


def test_the_ablation_stands_between_the_cam_and_the_labels(truth):
    labels = [
        label_row("a", ["cat", "dog"], [("cat", 0.9, LEFT), ("dog", 0.8, RIGHT)], LEFT + 2 * RIGHT),
        label_row("b", ["cat"], [("cat", 0.7, RIGHT)], RIGHT),
    ]
    seeds = [seed_row("a", [0, 1], np.zeros((2, 6, 8))), seed_row("b", [0], np.zeros((1, 6, 8)))]
    # The instances miss the dog, and the semantic map has it only; "b" failed.
    ablation = [
        ablation_row("a", ["dog", "cat"], [("cat", 0.9, LEFT)], RIGHT),
        ablation_row("no truth", ["cat"], [], LEFT),
    ]
    result = run(labels, seeds, truth, ablation=ablation)
    assert list(result.variants) == ["CAM", "CAM + boundary", "AffinityNet", "labels"]
    cam, boundary, affinitynet, made = result.variants.values()
    # The CAM is the ablation's, which sees a cat everywhere in "a", and not that of the seeds, which sees nothing.
    assert (cam.images, cam.instances) == (1, 1)
    assert cam.figures["recall"].value == pytest.approx(1 / 3)
    assert boundary.classes == {"ap50": {"cat": 0.5, "dog": 0}, "ap70": {"cat": 0.5, "dog": 0}}
    assert boundary.figures["ap50_any_class"].value == pytest.approx(1 / 3)
    assert (boundary.images, boundary.instances) == (1, 1)
    background = 6 + 18  # true columns of a and b; predicted are 18 and 30
    assert affinitynet.classes == {"iou": pytest.approx({"background": background / (18 + 30), "cat": 0, "dog": 1})}
    assert affinitynet.figures["precision"].value == 1
    assert affinitynet.figures["recall"].value == pytest.approx(1 / 3)
    assert affinitynet.instances is None
    assert means(made) == ALL_RIGHT
    gains = result.steps()
    assert gains["CAM + boundary", "labels"]["ap50"].value == pytest.approx(0.75)
    assert gains["AffinityNet", "labels"]["recall"].value == pytest.approx(2 / 3)
    assert "+75.0 [" in result.table()


def test_costly_rows_are_asked_for_only_when_all_else_is_measured(truth):
    def never():
        raise AssertionError("asked for")
        yield

    with pytest.raises(UserError, match="None of the 3"):
        run([], [], truth, images=["x.jpg"], ablation=never())
    with pytest.raises(UserError, match="a has 24 x 30 pixels"):
        run([label_row("a", ["cat"], [], LEFT.T)], [], truth, ablation=never())
    with pytest.raises(AssertionError, match="asked for"):
        run([], [], truth, ablation=never())


def test_all_variants_are_judged_on_the_same_samples_of_images(truth):
    """The labels equal the CAM's instances: however wide the intervals, nothing is gained."""
    cams = {"a": np.zeros((2, 6, 8)), "b": np.ones((1, 6, 8))}
    cams["a"][0, :, :3] = 1
    seeds = [seed_row("a", [0, 1], cams["a"]), seed_row("b", [0], cams["b"])]
    found = [found_in_seeds(row, truth.images[row["image_id"]], ["cat", "dog"]) for row in seeds]
    labels = [
        label_row(f.image_id, f.tags, [(i.class_name, i.score, coco.decode(i.rle)) for i in f.instances], f.semantic)
        for f in found
    ]
    result = run(labels, seeds, truth)
    low, high = result.variants["labels"].figures["miou"].interval
    assert low < result.variants["labels"].figures["miou"].value < high
    (gains,) = result.steps().values()
    for gain in gains.values():
        assert (gain.value, *gain.interval) == (0, 0, 0)


def test_real_truth_against_itself():
    path = PHOTOS / "instances_dev.json"
    if not path.is_file():
        pytest.skip(f"no photos at {PHOTOS}; set IRNET_RAY_PHOTOS")
    truth = load_truth(path)
    assert len(truth.images) == 131
    assert sum(len(image.instances) for image in truth.images.values()) == 346
    few = sorted(truth.images)[:20]

    def rows():
        for name in few:
            image = truth.images[name]
            tags = sorted({i.class_name for i in image.instances})
            masks = [(i.class_name, 1.0, coco.decode(i.rle)) for i in image.instances]
            semantic = np.zeros((image.height, image.width))
            for tag, _, mask in sorted(masks, key=lambda entry: -int(entry[2].sum())):
                semantic[mask > 0] = 1 + tags.index(tag)
            yield label_row(name, tags, masks, semantic)

    result = evaluate_rows(rows(), [], truth, image_ids=set(few), vocabulary=[])
    made = result.variants["labels"]
    assert means(made) == ALL_RIGHT
    assert result.images_outside_run == 111
    json.dumps(result.to_json(), allow_nan=False)
