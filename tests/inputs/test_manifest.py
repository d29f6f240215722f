import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.decode import ImageError, decode_rgb
from irnet_ray.inputs.folder import read, read_folder
from tests.inputs.formats import digest, png, write


def csv(place: Path, text: str) -> Path:
    (place / "manifest.csv").write_text(text)
    return place / "manifest.csv"


def lines(place: Path, *rows: Any) -> Path:
    (place / "manifest.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return place / "manifest.jsonl"


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize("column", ["uri", "file_name", "path", "image"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_column_of_names(tmp_path: Path, kind: str, column: str) -> None:
    write(tmp_path, "data/deep/a.png", "else/b.png")
    place, there = tmp_path / "data", str(tmp_path / "else" / "b.png")
    path = {
        "csv": lambda: csv(place, f"{column},tags,more\ndeep/a.png,dog; cat;dog,1\n{there},cow,2\n"),
        "jsonl": lambda: lines(place, {column: "deep/a.png", "tags": ["dog", "cat"]}, {column: there, "tags": "cow"}),
        "parquet": lambda: parquet(
            place / "m.parquet", {column: ["deep/a.png", there], "tags": [["dog", "cat", "dog"], ["cow"]]}
        ),
    }[kind]()
    rows = {row["image_id"]: row for row in read_folder(path, 2).to_pylist()}
    assert {name: (row["tags"], row["uri"], row["width"]) for name, row in rows.items()} == {
        "deep/a.png": (["dog", "cat"], str(place / "deep/a.png"), 20),
        there: (["cow"], there, 21),
    }


def test_an_images_table_is_a_manifest(tmp_path: Path) -> None:
    write(tmp_path, "dog/a.png", "cat/b.png")
    images = read_folder(tmp_path, 4)
    pq.write_table(images, tmp_path / "images.parquet")
    assert read_folder(tmp_path / "images.parquet", 4).equals(images)


BYTES = [png(0), png(1), png(2), b"no image", None]
TAGS = ["dog", "cat;dog", "cow", "dog", "cat"]


@pytest.mark.parametrize("kind", ["bytes", "large", "binary image", "struct"])
def test_bytes_stay_in_the_file(tmp_path: Path, kind: str) -> None:
    struct = [{"bytes": data, "path": None} for data in BYTES]
    image: dict[str, Any] = {
        "bytes": {"bytes": BYTES},
        "large": {"bytes": pa.array(BYTES, pa.large_binary())},
        "binary image": {"image": BYTES},
        "struct": {"image": pa.array(struct, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))},
    }[kind]
    path = parquet(tmp_path / "x#1:2.parquet", {**image, "tags": TAGS}, row_group_size=2)
    rows = read_folder(path, 2).to_pylist()
    assert [row["image_id"] for row in rows] == [f"x#1:2.parquet/0000000{n}" for n in (1, 2, 3, 4, 5)]
    assert [row["content"] for row in rows] == [*(digest(data) for data in BYTES if data is not None), None]
    assert [row["width"] for row in rows] == [20, 21, 22, None, None]
    column = {"struct": "image.bytes", "binary image": "image"}.get(kind, "bytes")
    assert rows[1]["uri"] == f"parquet+file://{path}#{column}:1"
    for number in (2, 0, 1):
        assert decode_rgb(rows[number]["uri"]).shape == (10, 20 + number, 3)
        assert np.array_equal(decode_rgb(rows[number]["uri"])[0, 0], (number, 100, 200))
    for row in rows[3:]:
        with pytest.raises(ImageError) as caught:
            decode_rgb(row["uri"])
        assert caught.value.kind == "unreadable"


def test_names_of_bytes_are_ids_where_they_tell_images_apart(tmp_path: Path) -> None:
    def image(*names: str | None) -> list[dict[str, Any]]:
        return [{"bytes": png(n), "path": name} for n, name in enumerate(names)]

    path = parquet(tmp_path / "x.parquet", {"image": image("b.png", "../a.png"), "tags": ["dog", "cat"]})
    assert read_folder(path, 1)["image_id"].to_pylist() == ["../a.png", "b.png"]
    assert read_folder(path, 1)["width"].to_pylist() == [21, 20]
    path = parquet(tmp_path / "x.parquet", {"image": image("b.png", "b.png"), "tags": ["dog", "cat"]})
    assert read_folder(path, 1)["image_id"].to_pylist() == ["x.parquet/00000001", "x.parquet/00000002"]
    path = parquet(tmp_path / "x.parquet", {"id": ["k", "l"], "bytes": [png(), png()], "tags": ["dog", "cat"]})
    assert read_folder(path, 1)["image_id"].to_pylist() == ["k", "l"]


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    for part in range(2):
        parquet(tmp_path / f"part-{part}.parquet", {"bytes": [png(part)], "tags": ["dog"]})
    rows = read_folder(tmp_path, 1).to_pylist()
    assert [(row["image_id"], row["width"]) for row in rows] == [
        ("part-0.parquet/00000001", 20),
        ("part-1.parquet/00000001", 21),
    ]


def test_a_column_of_bytes_that_nobody_filled(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    struct = pa.array([{"bytes": None, "path": "a.png"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    path = parquet(tmp_path / "x.parquet", {"image": struct, "tags": ["dog"]})
    assert read_folder(path, 1)["uri"].to_pylist() == [str(tmp_path / "a.png")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uri,width\na.png,7\n", "must have one column tags"),
        ("uri,tags\n", "lists no images"),
        ("uri,tags\n,cat\n", "line 2 names no image"),
        ("uri,tags\n../a.png,cat\n", "line 2 names '../a.png'"),
        ("image_id,uri,tags\n1,a.png,cat\n1,b.png,dog\n", "lists 1 twice, on line 2 and line 3"),
        ("uri,tags\na.png,cat\nx.png,dog\n/nowhere.png,cat\n", r"lists 2 images not found \(/nowhere.png, .*x.png\)"),
        ("uri,tags\na.png,cat,dog\n", "line 2 has 3 values"),
        ("uri,tags\nA.png,cat\na.PNG,dog\n", "twice, as A.png on line 2 and as a.PNG on line 3: write the name alike"),
        ("uri,tags\ns3://key:secret@bucket/a.png,cat\n", "line 2 names a URI with a password"),
    ],
)
def test_csv_that_a_person_should_mend(tmp_path: Path, text: str, message: str) -> None:
    path = csv(write(tmp_path, "a.png"), text)
    with pytest.raises(UserError, match=message) as caught:
        read_folder(path, 1)
    assert str(path) in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"uri": "a.png", "tags": "cat"}\n{"uri"\n', "line 2 is not JSON"),
        ("[1]\n", "line 1 holds no object"),
        ("[" * 100_000, "line 1 is not JSON"),
        ('{"uri": [7], "tags": "cat"}', "line 1 holds no text in uri"),
        ('{"uri": "a.png", "tags": [true]}', "line 1 holds no text in tags"),
        ('{"uri": "a.png", "tags": "\\ud800"}', "holds half a surrogate pair in tags"),
        ("\n\n", "lists no images"),
    ],
)
def test_json_lines_that_a_person_should_mend(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "a.png")
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(UserError, match=message):
        read_folder(tmp_path / "m.jsonl", 1)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"bytes": [b""]}, "one column tags"),
        ({"bytes": [b""], "tags": [b"cat"]}, "one column tags"),
        ({"uri": [[7]], "tags": ["cat"]}, "holds no text in uri"),
    ],
)
def test_parquet_that_a_person_should_mend(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_folder(parquet(tmp_path / "x.parquet", columns), 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [("m.csv", "uri,tags\na.png,\n"), ("m.jsonl", '{"uri": "a.png", "tags": []}'), ("m.jsonl", '{"uri": "a.png"}')],
)
def test_a_row_without_tags_is_an_image_of_nothing(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, "a.png")
    (tmp_path / name).write_text(text)
    assert read_folder(tmp_path / name, 1)["tags"].to_pylist() == [[]]


def test_what_is_not_parquet(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("uri,tags\n")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_folder(tmp_path / "x.parquet", 1)


def test_names_are_matched_below_the_folder_of_the_table(tmp_path: Path) -> None:
    write(tmp_path, "train/0a.jpg", "train/0b.PNG", "c.jpg")
    path = csv(tmp_path, "id,breed\n0a,pug\n0b.png,boxer\nc.jpg,pug\n")
    reading = read(path, 1)
    assert {row["image_id"]: row["width"] for row in reading.table.to_pylist()} == {"0a": 20, "0b.png": 21, "c.jpg": 22}
    assert reading.notes[-1].startswith("2 listed names differ from the file's")


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_images_apart(tmp_path: Path, kind: str) -> None:
    photos = write(tmp_path / "photos", "x/a.jpg", "b.png", "more.jpg")
    path = tmp_path / "lists" / f"train.{kind}"
    path.parent.mkdir()
    rows = [{"image": "a", "tags": ["dog", "cat"]}, {"image": "b.png", "tags": []}]
    path.write_text(json.dumps(rows) if kind == "json" else 'image,tags\na,"[""dog"", ""cat""]"\nb.png,\n')
    reading = read(path, 1, images=photos)
    assert {row["image_id"]: row["tags"] for row in reading.table.to_pylist()} == {"a": ["dog", "cat"], "b.png": []}
    assert reading.account.seen == 3 and reading.account.left_out.examples["an image without tags"] == ["more.jpg"]
    with pytest.raises(UserError, match="is no folder: name the folder of the images with --images"):
        read(path, 1, images=tmp_path / "nowhere")
    with pytest.raises(UserError, match="read as class folders, with its own images: leave --images out"):
        read(write(tmp_path / "classes", "cat/a.png", "dog/b.png"), 1, images=photos)


def test_rows_that_are_put_together_are_accounted_for(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    reading = read(csv(tmp_path, "path,tag\na.png,dog\na.png,cat\nb.png,cow\na.png,cow\n"), 1)
    assert reading.table["tags"].to_pylist() == [["dog", "cat", "cow"], ["cow"]]
    assert reading.account.seen == 4 and reading.account.left_out.counts == {"another row of an image": 2}


@pytest.mark.parametrize("column", ["img", "image", "photo", "picture"])
def test_shards_of_hugging_face(tmp_path: Path, column: str) -> None:
    features = {column: {"_type": "Image"}, "label": {"names": ["dog", "cat"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for part, label in enumerate((1, -1)):
        struct = pa.array(
            [{"bytes": png(part), "path": None}], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        )
        table = pa.table({column: struct, "label": [label]}).replace_schema_metadata(metadata)
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "data" / f"train-0000{part}-of-00002.parquet")
    (tmp_path / "README.md").write_text("---\ndataset_info: {}\n---\n")
    reading = read(tmp_path, 1)
    (row,) = reading.table.to_pylist()
    assert (row["image_id"], row["tags"], row["width"]) == ("data/train-00000-of-00002.parquet/00000001", ["cat"], 20)
    assert decode_rgb(row["uri"]).shape == (10, 20, 3)
    assert reading.account.left_out.counts == {"an image without tags": 1} and reading.account.seen == 2


def test_web_servers_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 2 names https://x.org/a.jpg, which is on a web server: download"):
        read(csv(tmp_path, "url,caption\nhttps://x.org/a.jpg,dog\n"), 1)
    for data in ("https://x.org/photos", "HTTP://x.org/train.csv"):
        with pytest.raises(UserError, match="x.org/.* is on a web server, where folders cannot be listed: download it"):
            read(data, 1)


@pytest.mark.parametrize("name", ["list.jsonlines", "list.jl", "list.ndjson", "train.manifest", "list.txt", "list"])
def test_json_lines_by_any_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a.png", "b.png")
    (tmp_path / name).write_text('{"image": "a.png", "class": "dog"}\n{"image": "b.png", "class": "cat"}\n')
    reading = read(tmp_path / name, 1)
    assert reading.format == "manifest" and reading.table["tags"].to_pylist() == [["dog"], ["cat"]]


@pytest.mark.parametrize("name", ["tags.csv", "train.csv"])
def test_a_folder_with_a_table_and_images_apart(tmp_path: Path, name: str) -> None:
    write(tmp_path / "photos", "a.png", "b.png")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / name).write_text("image,tags\na.png,dog\nb,cat\n")
    found = read(tmp_path / "lists", 1, images=tmp_path / "photos")
    assert found.table["tags"].to_pylist() == [["dog"], ["cat"]] and name in found.why
    (tmp_path / "lists" / "tags.parquet").write_bytes(b"")
    with pytest.raises(UserError):
        read(tmp_path / "lists", 1, images=tmp_path / "photos")
