from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def run_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | Path, str], str]:
    """Run code with some Python, away from the checkout, for what it prints."""
    away = tmp_path_factory.mktemp("away")

    def run(python: str | Path, code: str) -> str:
        command = [str(python), "-I", "-c", code]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, cwd=away)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout without network, with the backend that is here."""
    from build import ProjectBuilder
    from pyproject_hooks import quiet_subprocess_runner

    out = tmp_path_factory.mktemp("wheel")
    builder = ProjectBuilder(ROOT, sys.executable, quiet_subprocess_runner)
    return Path(builder.build("wheel", out))


@pytest.fixture(scope="session")
def wheel_python(wheel: Path, run_python, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment that has the wheel; its other packages are this one's."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    scripts, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    python = environment / scripts / name
    install = ["install", "-qq", "--no-index", "--no-deps", "--no-compile", str(wheel)]
    command = [sys.executable, "-m", "pip", "--python", str(python), *install]
    subprocess.run(command, check=True, timeout=120)
    # Named in a .pth file, this environment's packages come after the wheel, and its own .pth
    # files (the editable install among them) are not read.
    name = Path(sysconfig.get_path("purelib")).name
    others = [part for part in sys.path if Path(part).name == name]
    (packages_of(environment) / "others.pth").write_text("\n".join(others), encoding="utf-8")
    return python


def packages_of(environment: Path) -> Path:
    """Folder of an environment's packages."""
    where = {"base": str(environment), "platbase": str(environment)}
    return Path(sysconfig.get_path("purelib", "venv", where))


@pytest.fixture
def xvfb() -> Iterator[str]:
    """A virtual screen of the test's own."""
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    yield f":{server.stdout.readline().decode().strip()}"
    server.terminate()
    server.wait(10)
