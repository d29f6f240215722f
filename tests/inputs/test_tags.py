import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.tags import Tagged, find_tags_file, read_tags


def csv_file(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "tags.csv"
    path.write_bytes(text.encode(encoding))
    return path


def parquet_file(tmp_path, columns):
    path = tmp_path / "tags.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_csv(tmp_path):
    path = csv_file(tmp_path, '\ufeffnote, tags ,image\nx, dog ;cat;dog;; ,b.jpg\n\ny,"a, b",a é.jpg\n')
    assert read_tags(path) == [
        Tagged("b.jpg", ["dog", "cat"], "line 2"),
        Tagged("a é.jpg", ["a, b"], "line 4"),
    ]


@pytest.mark.parametrize(
    "tags",
    [
        pa.array([["dog", " cat", "dog"], ["cow"]]),
        pa.array([["dog", "cat"], ["cow"]], pa.large_list(pa.large_string())),
        pa.array(["dog;cat;", "cow"]),
        pa.array(["dog;cat", "cow"]).dictionary_encode(),
        pa.array([["dog", "cat", None], ["cow"]]),
    ],
    ids=lambda tags: str(tags.type),
)
def test_parquet(tmp_path, tags):
    path = parquet_file(tmp_path, {"image": ["b.jpg", "a.jpg"], "tags": tags, "more": [1, 2]})
    assert read_tags(path) == [Tagged("b.jpg", ["dog", "cat"], "row 1"), Tagged("a.jpg", ["cow"], "row 2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one column image and one column tags"),
        ("image,label\na.jpg,cat\n", r"one column tags, and has image, label"),
        ("image,tags,tags\na.jpg,cat,dog\n", "one column tags"),
        ("image,tags\n", "lists no images"),
        ("image,tags\na.jpg,cat\nb.jpg,dog,cow\n", "line 3 has 3 values where the header has 2"),
        ("image,tags\na.jpg\n", "line 2 has 1 values"),
        ("image,tags\n,cat\n", "line 2 names no image"),
        ("image,tags\na.jpg,cat\nb.jpg,cat\na.jpg,dog\n", "lists a.jpg twice, on line 2 and line 4"),
        ("image,tags\n/etc/a.jpg,cat\n", "below the folder"),
        ("image,tags\nx/../../a.jpg,cat\n", "below the folder"),
        ('image,tags\na.jpg,"cat\n', "cannot be read as CSV"),
        ("image,tags\na.jpg," + ";".join(map(str, range(255))) + "\n", "255 tags: at most 254"),
    ],
)
def test_bad_csv_says_what_and_where(tmp_path, text, message):
    path = csv_file(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        read_tags(path)
    assert str(path) in str(caught.value)


def test_a_row_without_tags_is_an_image_of_nothing(tmp_path):
    rows = read_tags(csv_file(tmp_path, "image,tags\na.jpg, ; \nb.jpg,\n"))
    assert [row.tags for row in rows] == [[], []]


def test_254_tags_are_welcome(tmp_path):
    path = csv_file(tmp_path, "image,tags\na.jpg," + ";".join(map(str, range(254))) + "\n")
    assert len(read_tags(path)[0].tags) == 254


def test_bad_encoding(tmp_path):
    with pytest.raises(UserError, match="not UTF-8"):
        read_tags(csv_file(tmp_path, "image,tags\né.jpg,cat\n", "latin-1"))


def test_bad_parquet(tmp_path):
    (tmp_path / "tags.parquet").write_bytes(b"image,tags\n")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_tags(tmp_path / "tags.parquet")
    with pytest.raises(UserError, match="one column tags"):
        read_tags(parquet_file(tmp_path, {"image": ["a.jpg"]}))
    with pytest.raises(UserError, match=r"text .* in tags, and holds string and list<.*int64>"):
        read_tags(parquet_file(tmp_path, {"image": ["a.jpg"], "tags": [[1]]}))
    assert read_tags(parquet_file(tmp_path, {"image": ["a.jpg"], "tags": pa.array([None], pa.string())}))[0].tags == []
    with pytest.raises(UserError, match="row 1 names no image"):
        read_tags(parquet_file(tmp_path, {"image": pa.array([None], pa.string()), "tags": ["cat"]}))


def test_find_tags_file(tmp_path):
    with pytest.raises(UserError, match="no tags.csv and no tags.parquet"):
        find_tags_file(tmp_path)
    path = csv_file(tmp_path, "image,tags\n")
    assert find_tags_file(tmp_path) == str(path)
    parquet_file(tmp_path, {"image": ["a.jpg"], "tags": ["cat"]})
    with pytest.raises(UserError, match="both tags.csv and tags.parquet"):
        find_tags_file(tmp_path)
