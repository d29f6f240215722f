"""A folder in an object store holds whole objects or none, whatever is killed or refused."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading

import pyarrow as pa
import pytest

from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun, publish, writable
from irnet_ray.runs.version import Version
from irnet_ray.storage import object_store
from tests.object_store.proxy import Fault, Proxy, Request

LARGE = object_store.ONE_REQUEST + 1_000_000  # two parts
WRITER = """
import sys
from irnet_ray.runs.folder import Folder
print("begun", flush=True)
Folder(sys.argv[1]).write("file", b"new" * (int(sys.argv[2]) // 3))
"""


def test_files_json_and_tables_come_back(out: Folder) -> None:
    folder = out.folder("deep", "er")
    folder.write("file", b"1")
    folder.write("file", b"22")
    folder.write_json("state.json", {"a": [1, None]})
    table = pa.table({"image_id": [f"{n:03d}" for n in range(200)], "n": list(range(200))})
    folder.write_table("t.parquet", table)
    assert folder.read("file") == b"22"
    assert folder.read_json("state.json") == {"a": [1, None]}
    assert folder.read_table("t.parquet") == table
    assert folder.read_table("t.parquet", columns=["n"], ids=["150", "007"]).to_pydict() == {"n": [7, 150]}
    assert [row["n"] for row in folder.stream_rows("t.parquet", ["n"])] == list(range(200))
    assert folder.count_rows() == 200
    assert folder.files() == ["file", "state.json", "t.parquet"]
    assert out.folders() == ["deep"]
    folder.remove("file")
    folder.remove("file")
    assert not folder.exists("file")
    folder.delete()
    assert (folder.files(), out.folder("deep").folders()) == ([], [])


def test_absence_is_no_error(out: Folder) -> None:
    folder = out.folder("never", "made")
    assert (folder.files(), folder.exists("x"), folder.read_json("x"), folder.count_rows()) == ([], False, None, 0)
    folder.delete()
    with pytest.raises(FileNotFoundError):
        folder.read("x")


@pytest.mark.parametrize("size", [0, 1, object_store.ONE_REQUEST - 1])
def test_a_commit_is_one_request(out: Folder, store: Proxy, size: int) -> None:
    out.write("file", b"x" * size)
    assert store.asked("PUT") == [f"/{out.location.removeprefix('s3://')}/file"]
    assert store.asked("POST") == []
    assert len(out.read("file")) == size


def test_a_large_object_gets_its_name_in_one_request_when_it_is_whole(out: Folder, store: Proxy) -> None:
    visible: list[list[str]] = []

    def look(request: Request) -> None:
        if "partNumber=2" in request.path or "uploadId" in request.path and request.method == "POST":
            visible.append(out.files())

    store.fault = look
    data = os.urandom(LARGE)
    out.write("file", data)
    (uploads,) = store.asked("POST", "?uploads")
    temporary = uploads.removesuffix("?uploads").rpartition("/")[2]
    assert temporary.startswith(".")
    assert [path.rpartition("/")[2] for path in store.asked("PUT") if "partNumber" not in path] == ["file", ""]
    assert visible and not any(visible)
    assert out.read("file") == data
    assert out.files() == ["file"]
    assert any(temporary in path for path in store.asked("DELETE"))


def test_a_refused_part_leaves_the_old_content(out: Folder, store: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    folder = Folder(out.location)
    folder.write("file", b"old")
    store.fault = lambda request: "slow down" if "partNumber=2" in request.path else None
    with pytest.raises(UserError, match=r"^Cannot write to s3://.*SLOW_DOWN.*again: what is done stays done\.$"):
        folder.write("file", bytes(LARGE))
    store.fault = lambda _: None
    assert folder.read("file") == b"old"
    assert folder.files() == ["file"]


def test_an_upload_whose_last_answer_is_lost_is_whole_all_the_same(out: Folder, store: Proxy) -> None:
    lost: list[Request] = []

    def lose(request: Request) -> Fault | None:
        last = request.method == "POST" and "uploadId" in request.path
        if not last or lost:
            return None
        lost.append(request)
        return "drop the answer"

    store.fault = lose
    out.write("file", bytes(LARGE))
    assert lost and out.read("file") == bytes(LARGE)


@pytest.mark.parametrize("size", [3, LARGE // 3 * 3], ids=["small", "large"])
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_writer_that_is_stopped_leaves_the_old_object_or_the_whole_new_one(
    out: Folder, store: Proxy, size: int, sign: signal.Signals
) -> None:
    out.write("file", b"old")
    writing, stopped = threading.Event(), threading.Event()

    def hold(request: Request) -> Fault | None:
        if request.method == "PUT" and (size == 3 or "partNumber=2" in request.path):
            writing.set()
            stopped.wait(120)
            return "drop" if sign == signal.SIGKILL else None
        return None

    store.fault = hold
    process = subprocess.Popen([sys.executable, "-c", WRITER, out.location, str(size)], stderr=subprocess.PIPE)
    try:
        assert writing.wait(120)
        process.send_signal(sign)
        if sign == signal.SIGKILL:
            process.wait()
    finally:
        stopped.set()
        process.communicate()
    store.fault = lambda _: None
    assert process.returncode != 0
    assert out.files() == ["file"]
    assert out.read("file") == (b"old" if sign == signal.SIGKILL else b"new" * (size // 3))


def test_readers_follow_the_pointer_alone(out: Folder) -> None:
    version = {"version": "0", "stages": {"labels": "labels-0", "images": "images-0"}, "shards": 1}
    publish(out, Version({**version, "vocabulary": [], "config": {}}))
    assert out.files() == ["current.json"] and out.folders() == []
    for name in (out.location, f"{out.location}/", f"{out.location}/labels"):
        run = FinishedRun.open(name)
        assert run.version.id == "0" and run.folder.folder("x").location == out.folder("x").location


def test_options_of_a_uri_stay_with_every_folder_below(
    bucket: str, store: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    location = f"s3://{bucket}/run?scheme=http&endpoint_override=127.0.0.1:{store.port}"
    folder = Folder(location).folder("stages", "seeds-0")
    assert folder.location.startswith(f"s3://{bucket}/run/stages/seeds-0?scheme=http")
    assert (folder.name, folder.parent.name, folder.parent.parent.location) == ("seeds-0", "stages", location)
    folder.write("file", b"1")
    assert pickle.loads(pickle.dumps(folder)).read("file") == b"1"
    assert finished_is_refused(location)
    filesystem, path = pickle.loads(pickle.dumps(folder.filesystem))  # as Ray's training gets it
    assert filesystem.get_file_info(f"{path}/file").size == 1


def finished_is_refused(location: str) -> bool:
    with pytest.raises(UserError, match="No finished run in s3://"):
        FinishedRun.open(f"{location.partition('?')[0]}/labels?{location.partition('?')[2]}")
    return True


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("s3://key:secret@bucket/run", r"The URI of bucket holds a password"),
        ("s3://bucket/run?nonsense=1", r"s3://bucket/run.nonsense=1 names no folder that can be used: "),
        ("s3:///run", r"s3:///run names no folder that can be used: "),
        ("ftp://host/run", r"ftp://host/run names no folder that can be used: "),
    ],
)
def test_a_uri_that_names_nothing_is_a_mistake(store: Proxy, location: str, said: str) -> None:
    for use in (writable, FinishedRun.open):
        with pytest.raises(UserError, match=said) as caught:
            use(location)
        assert "secret" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_a_mistake(store: Proxy) -> None:
    with pytest.raises(UserError, match=r"^Cannot write to s3://absent/run: .*NO_SUCH_BUCKET.*\.$"):
        writable("s3://absent/run")


def test_a_folder_that_can_be_written_to_stays_empty(out: Folder) -> None:
    assert writable(out.location).files() == []
