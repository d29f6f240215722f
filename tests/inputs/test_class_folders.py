from pathlib import Path

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read, read_folder
from tests.inputs.formats import write

TENCH, CRANE, MACHINE = "n01440764", "n02012849", "n03126707"


def tags(data: Path) -> dict[str, list[str]]:
    return {row["image_id"]: row["tags"] for row in read_folder(data, 2).to_pylist()}


def test_folders_are_tags_and_paths_are_ids(tmp_path: Path) -> None:
    write(tmp_path, "dog/b.png", "cat/deep/a.JPEG", "cat/.thumbs/a.png")
    assert tags(tmp_path) == {"cat/deep/a.JPEG": ["cat"], "dog/b.png": ["dog"]}
    assert read_folder(tmp_path, 1)["uri"].to_pylist()[1] == str(tmp_path / "dog/b.png")


@pytest.mark.parametrize("name", ["LOC_synset_mapping.txt", "synset_words.txt", "words.txt"])
@pytest.mark.parametrize("above", [True, False])
def test_wordnet_ids_become_names(tmp_path: Path, name: str, above: bool) -> None:
    data = write(tmp_path / "train", f"{TENCH}/a.JPEG")
    between = "\t" if name == "words.txt" else " "
    (tmp_path / ("" if above else "train") / name).write_text(f"n1 x\n{TENCH}{between}tench, Tinca tinca\n")
    assert tags(data) == {f"{TENCH}/a.JPEG": ["tench"]}


def test_names_that_two_classes_share_are_told_apart(tmp_path: Path) -> None:
    data = write(tmp_path, f"{CRANE}/a.png", f"{MACHINE}/a.png", "n03710637/a.png", "n03710721/a.png")
    (tmp_path / "words.txt").write_text(
        f"{CRANE}\tcrane\n{MACHINE}\tcrane\nn03710637\tmaillot\nn03710721\tmaillot, tank suit\n"
    )
    assert sorted(tag for (tag,) in tags(data).values()) == [
        f"crane ({CRANE})",
        f"crane ({MACHINE})",
        "maillot",
        "maillot, tank suit",
    ]


def test_ids_without_a_name_stay(tmp_path: Path) -> None:
    data = write(tmp_path, f"{TENCH}/a.png", f"{CRANE}/a.png")
    assert tags(data) == {f"{TENCH}/a.png": [TENCH], f"{CRANE}/a.png": [CRANE]}
    (tmp_path / "words.txt").write_text(f"{TENCH}\ttench\n")
    assert tags(data) == {f"{TENCH}/a.png": ["tench"], f"{CRANE}/a.png": [CRANE]}


def test_a_link_to_nothing_is_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path, "dog/b.png", "cat/a.png")
    (tmp_path / "cat" / "gone.png").symlink_to("nowhere")
    row = read_folder(tmp_path, 1).to_pylist()[1]
    assert (row["image_id"], row["width"], row["content"]) == ("cat/gone.png", None, None)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["images/a.png"], "no tags.csv"),  # a folder of photos whose tags are missing
        (["dog/a.png", "cat/a.png", "b.png", "c.png"], "no tags.csv.*; it holds 2 images, 1 image in"),
        (["images/a.png", "masks/a.png"], "no tags.csv.*; it holds 1 image in images, 1 mask in masks"),
        (["train/dog/a.png", "val/dog/a.png"], "holds splits and not classes .*train, val"),
    ],
)
def test_what_is_no_class_folder_is_refused(tmp_path: Path, files: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_folder(write(tmp_path, *files), 1)


def test_pictures_beside_the_folders_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "dog/a.png", "cat/a.png", "cover.png")
    assert tags(tmp_path) == {"cat/a.png": ["cat"], "dog/a.png": ["dog"]}
    assert read(tmp_path, 1).account.left_out.examples == {"an image beside the class folders": ["cover.png"]}


def test_a_mapping_that_is_not_text(tmp_path: Path) -> None:
    write(tmp_path, f"{TENCH}/a.png")
    (tmp_path / "words.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"words.txt is not UTF-8"):
        read_folder(tmp_path, 1)
