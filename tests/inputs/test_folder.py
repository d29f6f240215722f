import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image

from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read_folder

PHOTOS = Path(os.environ.get("IRNET_RAY_PHOTOS") or Path(__file__).parents[3] / "shared" / "photos")


def make(folder, files, tags):
    for number, name in enumerate(files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + number, 10)).save(path)
    if tags is not None:
        (folder / "tags.csv").write_text("image,tags\n" + tags)
    return folder


def test_reads_both_places_sorted_by_id(tmp_path):
    make(tmp_path, ["images/c.jpg", "b.PNG", "deep/a.webp"], "c.jpg,dog;cat\nb.PNG,cow\ndeep/a.webp,cat\n")
    table = read_folder(tmp_path, shards=4)
    assert table.schema.equals(tables.IMAGES)
    rows = table.to_pylist()
    assert [row["image_id"] for row in rows] == ["b.PNG", "c.jpg", "deep/a.webp"]
    assert rows[1] == {
        "image_id": "c.jpg",
        "uri": str(tmp_path / "images/c.jpg"),
        "tags": ["dog", "cat"],
        "width": 20,
        "height": 10,
        "content": hashlib.blake2b((tmp_path / "images/c.jpg").read_bytes(), digest_size=16).hexdigest(),
        "shard": tables.shard_of("c.jpg", 4),
    }


def test_relative_folder_gives_absolute_uris(tmp_path, monkeypatch):
    make(tmp_path / "data", ["a.jpg"], "a.jpg,cat\n")
    monkeypatch.chdir(tmp_path)
    assert read_folder(Path("data"), 1)["uri"].to_pylist() == [str(tmp_path / "data/a.jpg")]


def test_limit_takes_the_first_by_id(tmp_path):
    make(tmp_path, ["a.jpg", "b.jpg", "c.jpg"], "c.jpg,cat\na.jpg,cat\nb.jpg,cat\n")
    assert read_folder(tmp_path, 2, limit=2)["image_id"].to_pylist() == ["a.jpg", "b.jpg"]
    assert read_folder(tmp_path, 2, limit=9).num_rows == 3


def test_broken_image_has_no_size_and_is_no_error(tmp_path):
    make(tmp_path, ["a.jpg"], "a.jpg,cat\nbroken.jpg,cat\n")
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    rows = read_folder(tmp_path, 1).to_pylist()
    assert (rows[1]["width"], rows[1]["height"]) == (None, None)
    assert rows[1]["content"] == hashlib.blake2b(b"nothing", digest_size=16).hexdigest()


def test_hidden_files_and_link_loops_are_left_alone(tmp_path):
    make(tmp_path, ["a.jpg", ".thumbs/a.jpg", "._a.jpg"], "a.jpg,cat\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert read_folder(tmp_path, 1).num_rows == 1


def test_linked_images_folder(tmp_path):
    make(tmp_path / "store", ["a.jpg", "b.jpg"], None)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/images").symlink_to(tmp_path / "store")
    (tmp_path / "data/tags.csv").write_text("image,tags\na.jpg,cat\n")
    with pytest.raises(UserError, match="1 image file without tags"):
        read_folder(tmp_path / "data", 1)


@pytest.mark.parametrize(
    ("files", "tags", "message"),
    [
        ([], "a.jpg,cat\n", "holds no images"),
        (["a.jpg"], None, "no tags.csv"),
        (["a.jpg"], "a.jpg,cat\nx.jpg,cat\n", r"tags for 1 file not found .*x.jpg on line 3"),
        (
            ["a.jpg"],
            "a.jpg,cat\n" + "".join(f"{i}.jpg,cat\n" for i in range(9)),
            r"9 files .*line 5 and 6 more",
        ),
        (
            ["a.jpg", "b.TIFF", "images/a.jpg"],
            "a.jpg,cat\n",
            r"2 image files without tags .*b.TIFF, images/a.jpg\)",
        ),
        (["images/a.jpg"], "a.jpg,cat\nimages/a.jpg,cat\n", "lists images/a.jpg twice"),
        (["a.jpg"], "a.jpg,cat\n./a.jpg,cat\n", "lists a.jpg twice"),
    ],
)
def test_what_a_person_should_mend(tmp_path, files, tags, message):
    with pytest.raises(UserError, match=message) as caught:
        read_folder(make(tmp_path, files, tags), 1)
    assert str(tmp_path) in str(caught.value)


def test_wrong_arguments(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_folder(tmp_path / "nowhere", 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not a folder"):
        read_folder(tmp_path / "file", 1)
    with pytest.raises(UserError, match="shards must be at least 1, got 0"):
        read_folder(tmp_path, 0)
    with pytest.raises(UserError, match="limit must be at least 1 image, got 0"):
        read_folder(tmp_path, 1, limit=0)


def test_real_photos():
    if not (PHOTOS / "tags.csv").is_file():
        pytest.skip(f"no photos at {PHOTOS}; set IRNET_RAY_PHOTOS")
    table = read_folder(PHOTOS, shards=8)
    assert table.num_rows == 934
    assert len(tables.vocabulary(table)) == 20
    assert table["width"].null_count == 0
    assert max(table["width"].to_pylist() + table["height"].to_pylist()) <= 500
    assert set(table["shard"].to_pylist()) == set(range(8))
