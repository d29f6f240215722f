"""Properties of the whole package: metadata, direction of imports, size of files, late imports."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

import irnet_ray

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "irnet_ray").rglob("*.py"))
ALGORITHMS = sorted((ROOT / "irnet_ray" / "algorithms").glob("*.py"))


@pytest.fixture
def installed() -> metadata.Distribution:
    try:
        return metadata.distribution("irnet-ray")
    except metadata.PackageNotFoundError:
        pytest.skip("irnet-ray is not installed here: pip install .")


def test_installed_version_is_the_package_s(installed: metadata.Distribution) -> None:
    assert installed.version == irnet_ray.__version__


def test_license_is_in_the_built_metadata(installed: metadata.Distribution) -> None:
    assert installed.metadata["License-Expression"] == "Apache-2.0"
    copies = [file for file in installed.files or [] if file.name == "LICENSE"]
    assert [file.read_text() for file in copies] == [(ROOT / "LICENSE").read_text()]


def test_imports_point_one_way() -> None:
    linter = shutil.which("lint-imports", path=sysconfig.get_path("scripts"))
    if linter is None:
        pytest.skip('import-linter is not installed here: pip install ".[dev]"')
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["irnet_ray", "irnet_ray.cli"])
def test_torch_and_ray_are_imported_late(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{'torch', 'torchvision', 'ray'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_under_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


@pytest.mark.parametrize("path", ALGORITHMS, ids=lambda path: path.name)
def test_public_algorithms_are_documented(path: Path) -> None:
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    public = [function for function in functions if not function.name.startswith("_")]
    assert not [function.name for function in public if not ast.get_docstring(function)]
