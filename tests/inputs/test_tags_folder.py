"""A folder of images with a tags file."""

import hashlib

import pytest

from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read, read_folder
from tests.inputs.formats import tagged


def test_reads_both_places_sorted_by_id(tmp_path):
    tagged(tmp_path, ["images/c.jpg", "b.PNG", "deep/a.webp"], "c.jpg,dog;cat\nb.PNG,cow\ndeep/a.webp,cat\n")
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
        "tags_unknown": None,
    }


def test_hidden_files_and_link_loops_are_left_alone(tmp_path):
    tagged(tmp_path, ["a.jpg", ".thumbs/a.jpg", "._a.jpg"], "a.jpg,cat\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert read_folder(tmp_path, 1).num_rows == 1


def test_linked_images_folder(tmp_path):
    tagged(tmp_path / "store", ["a.jpg", "b.jpg"], None)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/images").symlink_to(tmp_path / "store")
    (tmp_path / "data/tags.csv").write_text("image,tags\na.jpg,cat\n")
    reading = read(tmp_path / "data", 1)
    assert reading.table["image_id"].to_pylist() == ["a.jpg"]
    assert reading.account.left_out.examples["an image without tags"] == ["images/b.jpg"]


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
        (["images/a.jpg"], "a.jpg,cat\nimages/a.jpg,cat\n", "lists images/a.jpg twice"),
        (["a.jpg"], "a.jpg,cat\n./a.jpg,cat\n", "lists a.jpg twice"),
    ],
)
def test_what_a_person_should_mend(tmp_path, files, tags, message):
    with pytest.raises(UserError, match=message) as caught:
        read_folder(tagged(tmp_path, files, tags), 1)
    assert str(tmp_path) in str(caught.value)
