"""A folder of images with a tags file."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read, read_folder
from tests.inputs.formats import tagged, write


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
        "source_id": None,
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
        (["a.jpg"], "A.jpg,cat\na.JPG,dog\n", "as A.jpg on line 2 and as a.JPG on line 3: write the name alike"),
    ],
)
def test_what_a_person_should_mend(tmp_path, files, tags, message):
    with pytest.raises(UserError, match=message) as caught:
        read_folder(tagged(tmp_path, files, tags), 1)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "labels.csv",
        "Labels.CSV",
        "metadata.jsonl",
        "train.csv",
        "annotations.tsv",
        "mine.csv",
        "mine.json",
        "mine.parquet",
    ],
)
def test_another_table(tmp_path, name):
    write(tmp_path, "images/a.png", "images/b.png")
    rows = [{"file_name": "a.png", "labels": "dog"}, {"file_name": "b.png", "labels": "cat"}]
    text = {
        ".csv": "file_name,labels\na.png,dog\nb.png,cat\n",
        ".tsv": "file_name\tlabels\na.png\tdog\nb.png\tcat\n",
        ".jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        ".json": json.dumps(rows),
    }
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        (tmp_path / name).write_text(text[name[name.rindex(".") :].lower()])
    reading = read(tmp_path, 1)
    assert (reading.format, reading.why) == ("table", f"{name} lists images and tags")
    assert dict(zip(*(reading.table[c].to_pylist() for c in ("image_id", "tags")), strict=True)) == {
        "a.png": ["dog"],
        "b.png": ["cat"],
    }
    assert reading.notes == ["the column labels holds the tags"]
    assert reading.account.left_out.counts == {"holds the tags": 1}


@pytest.mark.parametrize("split", ["train", "data/train"])
def test_hugging_face_has_metadata_in_each_split(tmp_path, split):
    write(tmp_path, f"{split}/a.png", "test/deep/a.png")
    (tmp_path / split / "metadata.jsonl").write_text('{"file_name": "a.png", "labels": ["dog"]}\n')
    (tmp_path / "test" / "metadata.csv").write_text("file_name,labels\ndeep/a.png,cat\n")
    assert {row["image_id"]: row["tags"] for row in read_folder(tmp_path, 1).to_pylist()} == {
        f"{split}/a.png": ["dog"],
        "test/deep/a.png": ["cat"],
    }


def test_a_table_about_something_else_leaves_class_folders_alone(tmp_path):
    write(tmp_path, "cat/a.png", "dog/b.png")
    for header in ("file,sha256\ncat/a.png,00\n", "path,width\ncat/a.png,20\n", "image,caption\ncat/a.png,a cat\n"):
        (tmp_path / "about.csv").write_text(header)
        assert read(tmp_path, 1).format == "class folders"
    (tmp_path / "labels.csv").write_text("image,label\ncat/a.png,tabby\ndog/b.png,pug\n")
    assert read_folder(tmp_path, 1)["tags"].to_pylist() == [["tabby"], ["pug"]]


def test_of_several_tables_a_usual_name_wins(tmp_path):
    write(tmp_path, "train/a.png", "test/b.png")
    (tmp_path / "train.csv").write_text("id,label\na,dog\n")
    (tmp_path / "sample_submission.csv").write_text("id,label\nb,dog\n")
    reading = read(tmp_path, 1)
    assert reading.table["image_id"].to_pylist() == ["a"]
    assert reading.account.left_out.examples["an image without tags"] == ["test/b.png"]
    (tmp_path / "train.csv").rename(tmp_path / "mine.csv")
    with pytest.raises(UserError, match=r"has both mine.csv and sample_submission.csv: keep the one that is right"):
        read(tmp_path, 1)


def test_a_table_without_tags_is_named(tmp_path):
    write(tmp_path, "images/a.png")
    (tmp_path / "list.csv").write_text("file,sha256\na.png,00\n")
    with pytest.raises(UserError, match=r"has no tags.csv, and list.csv does not list images with their tags"):
        read(tmp_path, 1)


def test_the_nearest_name_is_in_the_sentence(tmp_path):
    with pytest.raises(UserError, match=r"\(img_1.jpg on line 2; the nearest name to img_1.jpg is img_01.jpg\)"):
        read_folder(tagged(tmp_path, ["img_01.jpg"], "img_1.jpg,cat\n"), 1)


@pytest.mark.parametrize(
    ("separator", "tags"), [("none", ["a;b,c"]), (";", ["a", "b,c"]), (",", ["a;b", "c"]), (None, ["a", "b,c"])]
)
def test_a_separator_that_is_given(tmp_path, separator, tags):
    tagged(tmp_path, ["a.jpg"], '"a.jpg","a;b,c"\n')
    assert read(tmp_path, 1, separator=separator).table["tags"].to_pylist() == [tags]
    with pytest.raises(UserError, match="--separator is empty"):
        read(tmp_path, 1, separator="")
