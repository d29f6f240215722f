"""A store that refuses, hangs up and stalls: nothing is lost or doubled; and one that is away ends in a sentence."""

from __future__ import annotations

import random
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
import ray

from irnet_ray import cli, tables
from irnet_ray.engine.mapping import run_map
from irnet_ray.engine.session import Devices
from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import publish
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Version
from irnet_ray.storage import object_store
from tests.engine import toy_mapping
from tests.object_store.proxy import Fault, Proxy, Request

SCHEMA = pa.schema([pa.field("image_id", pa.string(), nullable=False), pa.field("size", pa.int64(), nullable=False)])
ERROR = {"stage": "seeds", "kind": "unreadable", "message": "no JPEG"}


def a_third(*faults: Fault) -> Callable[[Request], Fault | None]:
    """Faults for a random third of the requests."""
    chance, lock = random.Random(7), threading.Lock()

    def fault(_: Request) -> Fault | None:
        with lock:
            return chance.choice(faults) if chance.random() < 1 / 3 else None

    return fault


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A second of silence is enough for a request to count as lost."""
    monkeypatch.setattr(object_store, "SILENT_SECONDS", 1.0)
    object_store._s3.cache_clear()
    yield
    object_store._s3.cache_clear()


def test_another_server_is_not_asked_for_a_region(out: Folder, store: Proxy) -> None:
    object_store._s3.cache_clear()
    store.fault = lambda _: "drop"
    assert object_store.connect(out.location)[0].region == "us-east-1"
    assert object_store.connect(out.location + "?region=eu-west-1")[0].region == "eu-west-1"
    assert not store.log


def test_a_run_directory_comes_out_the_same(out: Folder, store: Proxy) -> None:
    ids = [f"{number:02d}" for number in range(8)]

    def make(run: Folder) -> tuple[Any, ...]:
        shards = Shards(run.folder("stages", "seeds-0"), 1)
        for start in (0, 4, 0):
            assert shards.missing(0, ids) == (ids[start:] if start or not shards.units(0).files() else [])
            rows = [
                {"image_id": i, "uri": f"/{i}", **({"error": ERROR} if i == "03" else {"size": 1})}
                for i in ids[start : start + 4]
            ]
            shards.commit(0, SCHEMA, rows)
        shards.seal(0, SCHEMA, ids)
        publish(run, Version({"version": "0", "stages": {}}))
        parts = [folder.read_table(shards.part(0)) for folder in (shards.rows, shards.errors)]
        return shards.counts(), parts, shards.sealed(), run.read_json("current.json"), shards.units(0).files()

    quiet = make(out.folder("quiet"))
    store.faults, store.fault = 0, a_third("slow down", "drop", "drop the answer")
    assert make(out.folder("loud")) == quiet
    assert store.faults > 10


def test_a_request_that_nobody_answers_is_asked_again(out: Folder, store: Proxy, impatient: None) -> None:
    stalled: list[Request] = []

    def stall(request: Request) -> Fault | None:
        if request.method in [one.method for one in stalled]:
            return None
        stalled.append(request)
        return "stall"

    folder = Folder(out.location)
    store.fault = stall
    folder.write("file", b"1")
    assert folder.read("file") == b"1"
    assert sorted(request.method for request in stalled) == ["GET", "HEAD", "PUT"]


def test_a_map_stage_over_ray_loses_and_doubles_nothing(
    out: Folder, store: Proxy, devices: Devices, tmp_path: Any
) -> None:
    ray.cloudpickle.register_pickle_by_value(toy_mapping)
    count, ids = 2, [f"{number:02d}-{'raise-finish' if number == 5 else 'good'}" for number in range(8)]
    by_shard: dict[int, list[str]] = {}
    for image_id in ids:
        by_shard.setdefault(tables.shard_of(image_id, count), []).append(image_id)
    images, upstream = (Shards(out.folder("stages", name), count) for name in ("images", "upstream"))
    for shard in range(count):
        rows = [
            {"image_id": i, "uri": f"/{i}", "tags": ["t"], "width": 1, "height": 1, "content": "", "shard": shard}
            for i in by_shard.get(shard, [])
        ]
        numbers = pa.table({"image_id": [row["image_id"] for row in rows], "number": [1 for _ in rows]})
        images.rows.write_table(images.part(shard), pa.Table.from_pylist(rows, tables.IMAGES))
        upstream.rows.write_table(upstream.part(shard), numbers)
        upstream.errors.write_table(upstream.part(shard), tables.ERRORS.empty_table())
    store.faults, store.fault = 0, a_third("slow down", "drop", "drop the answer")
    result = Shards(out.folder("stages", "toy"), count)
    stage = toy_mapping.stage(tmp_path, images, upstream)
    done = run_map(stage, result.folder, by_shard, count, 4, devices, 1)
    store.fault = lambda _: None
    assert (done.rows, done.errors, done.computed) == (7, 1, 8)
    found = [row["image_id"] for name in result.rows.files() for row in result.rows.read_table(name).to_pylist()]
    failed = [row["image_id"] for name in result.errors.files() for row in result.errors.read_table(name).to_pylist()]
    assert sorted(found + failed) == ids and failed == ["05-raise-finish"]
    assert store.faults > 10


@pytest.mark.parametrize(
    "command",
    [
        "label --data DATA --backbone lite0 --out",
        "predict s3://bucket/model --data DATA --out",
        "train deeplab",
        "show",
    ],
    ids=lambda command: command.split()[0],
)
def test_a_store_that_is_away_for_good_ends_in_one_sentence(
    command: str, store: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setattr(sys, "argv", ["irnet-ray", *command.split(), "s3://bucket/run"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code not in (0, None)
    assert said.startswith("irnet-ray: Cannot ") and said.count("\n") == 1 and "s3://bucket/" in said
    assert "damaged" not in said and "NETWORK_CONNECTION" in said


def test_a_refusal_that_is_longer_than_the_object_is_asked_again(out: Folder, store: Proxy) -> None:
    out.write("file", b"1")
    refused: list[Request] = []

    def refuse(request: Request) -> Fault | None:
        if request.method != "GET" or len(refused) == 2:
            return None
        refused.append(request)
        return "slow down"

    store.fault = refuse
    assert out.read("file") == b"1" and len(refused) == 2


def test_a_store_that_goes_away_is_no_damaged_file(out: Folder, store: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"image_id": ["a"]})
    out.write_table("t.parquet", table)
    out.write("bad.parquet", b"no table")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    folder = Folder(out.location)
    with pytest.raises(UserError, match="is damaged"):
        folder.read_table("bad.parquet")
    store.fault = lambda _: "slow down"
    for read in (
        lambda: folder.read_table("t.parquet"),
        lambda: folder.count_rows(["t.parquet"]),
        lambda: list(folder.stream_rows("t.parquet", ["image_id"])),
        lambda: folder.read_json("t.parquet"),
        lambda: folder.files(),
        lambda: folder.exists("t.parquet"),
    ):
        with pytest.raises(UserError, match=r"^Cannot read s3://.*(SLOW_DOWN|503).*what is done stays done\.$"):
            read()
    store.fault = lambda _: None
    assert folder.read_table("t.parquet") == table
