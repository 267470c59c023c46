"""The command line on another computer, over a real sshd."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari import api
from cmfnet_napari.cli import main as cli
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.images.study import load_values
from cmfnet_napari.remote.elsewhere import fit_elsewhere
from cmfnet_napari.remote.hosts import Host, serve_command
from cmfnet_napari.remote.installing import install, lines_to_type
from cmfnet_napari.remote.keeper import keeper_command
from cmfnet_napari.remote.run_files import WORKING

from .conftest import HOST

QUICKLY = {
    "steps": 8,
    "width": 2,
    "spacing": 3,
    "stroke_maps": False,
    "minutes": None,
    "keep_marked": True,
}


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command; what it prints last, as JSON, or the line of its error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["cmfnet", *map(str, words), "--json"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return said.err if end.value.code else json.loads(said.out.splitlines()[-1])

    return run


def _break_off(study, ball, out):
    """Begin what the command below asks for, and leave it after a step."""
    config = make_config("quick", seed=0, **QUICKLY)
    given = study, ball.scribbles, out
    heard = []

    def quit_soon():
        return "quit" if any(isinstance(e, events.Step) for e in heard) else ""

    host = Host(name=HOST)
    assert fit_elsewhere(*given, config, host, on_event=heard.append, request=quit_soon) is None
    assert (out / WORKING).is_dir()
    with pytest.raises(UserError, match="its images, strokes or settings differ"):
        fit_elsewhere(*given, ball.config, host)


@pytest.mark.slow
def test_from_files_to_a_contour_and_nothing_left(ssh, ball, tmp_path, run):
    for name, image in (("ct", ball.study.first), ("mr", ball.study.second)):
        sitk.WriteImage(image.image(), str(tmp_path / f"{name}.nii.gz"))
    study = api.open_study(tmp_path / "ct.nii.gz", mr=tmp_path / "mr.nii.gz")
    api.save_labels(ball.scribbles, study, tmp_path / "strokes.nii.gz")
    patient = [tmp_path / "ct.nii.gz", "--mr", tmp_path / "mr.nii.gz"]
    patient += ["--scribbles", tmp_path / "strokes.nii.gz"]
    said = [f"{name}={json.dumps(value)}" for name, value in QUICKLY.items()]
    settings = [word for setting in said for word in ("--set", setting)]
    there = ["--on", HOST]
    _break_off(study, ball, tmp_path / "run")  # the same command goes on with it
    done = run("fit", *patient, "--out", tmp_path / "run", *settings, *there)
    at_home = run("fit", *patient, "--out", tmp_path / "own", *settings)
    for name in ("prediction", "probabilities", "disagreement"):
        path = tmp_path / "run" / f"{name}.nii.gz"
        assert path.read_bytes() == (tmp_path / "own" / f"{name}.nii.gz").read_bytes()
    said = (tmp_path / "run/events.jsonl").read_text().splitlines()
    started = [e for e in map(events.decode_event, said) if isinstance(e, events.Started)]
    assert started[-1].from_step > 0
    assert done["prediction"] == str(tmp_path / "run" / "prediction.nii.gz")
    assert done["volumes_ml"] == at_home["volumes_ml"]
    assert not (tmp_path / "run" / WORKING).exists()
    labels = tmp_path / "labels.nii.gz"
    run("predict", tmp_path / "run", *patient, "--out", labels, *there)
    run("predict", tmp_path / "run", *patient, "--out", tmp_path / "own.nii.gz")
    same = load_values(labels, study.grid), load_values(tmp_path / "own.nii.gz", study.grid)
    np.testing.assert_array_equal(*same)
    limited = ["--memory-gib", "1", "--out", labels, *there]
    assert "memory is not limited" in run("predict", tmp_path / "run", *patient, *limited)
    assert run("on", HOST, "delete") == {"cases deleted": 2}
    left = [path for path in ssh.there.rglob("*") if path.is_file()]
    assert left == []


def test_doctor(started, run):
    facts = run("doctor", "--on", HOST)
    assert facts["torch"]["device"]
    assert facts["disk_free_gib"] > 0
    assert not any(said.startswith("The window") for said in facts["sentences"])


def test_a_keeper_is_started_for_a_case_alone(tmp_path):
    """By the command that our end there starts it with; elsewhere in these tests it is forked."""
    command = keeper_command(tmp_path, "../elsewhere", 0)
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 1
    assert "not the name of a case" in done.stderr


def test_a_login_shell_as_csh_takes_what_is_typed(monkeypatch):
    """It knows no quote over several lines."""
    typed = []

    def run(command, **_):
        typed.append(command[-1])
        return subprocess.CompletedProcess(command, 0, b"", b"")

    monkeypatch.setenv("CMFNET_SSH", "ssh")
    monkeypatch.setattr("subprocess.run", run)
    install(Host(name=HOST))
    typed.append(serve_command(Host(name=HOST))[-1])
    for line in typed:
        assert line.splitlines() == [line]
        assert line.count("'") == 2


def test_install_there(ssh, tmp_path):
    """A Python that only writes down what it is told stands for the one of that computer."""
    programs, home = ssh.folder / "programs", ssh.folder / "home"
    python = programs / "python3"
    python.write_text(
        '#!/bin/sh\necho "$@" >>"$0.told"\n'
        'if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi\n'
    )
    python.chmod(0o755)
    wheel = tmp_path / "cmfnet_napari-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel\n" * 1000)
    try:
        install(Host(name=HOST, via="false"), wheel)  # a queue of jobs is not asked
        assert (home / wheel.name).read_bytes() == wheel.read_bytes()
        assert not home.stat().st_mode & 0o077
        pip = (home / "venv" / "bin" / "python.told").read_text()
        assert pip == f"-m pip --disable-pip-version-check install --quiet {home}/{wheel.name}\n"
        install(Host(name=HOST))
        assert "install --quiet cmfnet-napari==" in (home / "venv/bin/python.told").read_text()
        (home / "venv/bin/python").unlink()
        python.write_text('#!/bin/sh\n[ "$1" = -c ] || { echo "No space left" >&2; exit 1; }\n')
        with pytest.raises(UserError, match="No space left") as found:
            install(Host(name=HOST))
        assert lines_to_type(Host(name=HOST)) in str(found.value)
        for name in ("python3", *(f"python3.{n}" for n in range(11, 15))):
            (programs / name).write_text("#!/bin/sh\nexit 1\n")
            (programs / name).chmod(0o755)
        with pytest.raises(UserError, match="no Python 3"):
            install(Host(name=HOST))
    finally:
        shutil.rmtree(programs)  # other tests find cmfnet again
        shutil.rmtree(home)
        programs.mkdir()
