"""Doctor: facts of this machine, and the sentences drawn from made-up ones."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from cmfnet_napari.cli import doctor

CPU = {
    "version": "2.13.0",
    "threads": 8,
    "device": "cpu",
    "precision": "float32",
    "cuda": [],
    "mps": False,
}
FACTS = {
    "python": "3.12.1",
    "system": "Linux 6.1 (x86_64)",
    "cores": 8,
    "memory": {"total_gib": 32.0, "free_gib": 20.0},
    "torch": CPU,
    "window": {
        "napari": "0.9.2",
        "qt": "PyQt6 6.11.0",
        "opengl": {"renderer": "Radeon RX", "version": "4.6", "max_3d_texture": 16384},
        "why": "",
    },
    "cases": {"folder": "~/cases", "free_gib": 100.0},
    "packages": {"monai": "1.6.1", "vispy": None},
}


@pytest.fixture
def facts() -> doctor.Facts:
    return copy.deepcopy(FACTS)


def said(facts: doctor.Facts) -> str:
    return "\n".join(doctor.sentences(facts))


def test_a_good_machine_gets_two_sentences(facts: doctor.Facts) -> None:
    assert doctor.sentences(facts) == [
        "The window can open. It is drawn by Radeon RX.",
        "Training runs on the processor (8 threads, float32): choose the preset quick.",
    ]


def test_no_display(facts: doctor.Facts) -> None:
    facts["window"].update(opengl=None, why="could not connect to display")
    assert "no display with OpenGL (could not connect to display)" in said(facts)
    assert "`cmfnet demo --headless`" in said(facts)


@pytest.mark.parametrize(("lacks", "words"), [("napari", "napari is"), ("qt", "a Qt binding is")])
def test_window_not_installed(facts: doctor.Facts, lacks: str, words: str) -> None:
    facts["window"].update({lacks: "", "opengl": None})
    assert f"{words} not installed" in said(facts)
    assert "cmfnet-napari[all]" in said(facts)


@pytest.mark.parametrize("renderer", ["llvmpipe (LLVM 15.0.6, 256 bits)", "GDI Generic"])
def test_software_drawing_is_said(facts: doctor.Facts, renderer: str) -> None:
    facts["window"]["opengl"]["renderer"] = renderer
    assert "3D views are slow" in said(facts)


def test_gpu(facts: doctor.Facts) -> None:
    card = {"name": "NVIDIA RTX A6000", "total_gib": 48.0, "free_gib": 40.25}
    facts["torch"] = {**CPU, "device": "cuda", "precision": "bfloat16", "cuda": [card]}
    assert "Training runs on the GPU NVIDIA RTX A6000, 40.2 of 48.0 GiB free." in said(facts)


def test_apple_gpu_is_offered(facts: doctor.Facts) -> None:
    facts["torch"]["mps"] = True
    assert "`--device mps`" in said(facts)


def test_broken_torch(facts: doctor.Facts) -> None:
    facts["torch"] = {"version": "2.13.0", "error": "c10.dll not found"}
    assert "torch cannot be loaded (c10.dll not found)" in said(facts)
    doctor.report({**facts, "sentences": []}, Console(file=io.StringIO()))


def test_a_missing_library_of_windows(facts: doctor.Facts) -> None:
    why = "ImportError: DLL load failed while importing QtCore: The module could not be found."
    facts["window"].update(opengl=None, why=why)
    facts["torch"] = {"version": "2.13.0", "error": "[WinError 126] Error loading c10"}
    window, torch = doctor.sentences(facts)
    assert window.count("Visual C++ Redistributable (x64)") == 1
    assert torch.count("Visual C++ Redistributable (x64)") == 1
    assert "Debian" not in window + torch


def test_a_missing_library_of_linux(facts: doctor.Facts) -> None:
    why = "ImportError: libEGL.so.1: cannot open shared object file: No such file or directory"
    facts["window"].update(opengl=None, why=why)
    assert "On Debian and Ubuntu install: libgl1" in said(facts)
    assert "Visual C++" not in said(facts)


@pytest.mark.parametrize("system", ["Windows 11 (AMD64)", "Darwin 24.1.0 (arm64)"])
def test_nothing_of_debian_is_said_elsewhere(facts: doctor.Facts, system: str) -> None:
    facts["system"] = system
    for why in ("no OpenGL with the windows display", "the test ended with code 3221225477"):
        facts["window"].update(opengl=None, why=why)
        assert "Debian" not in said(facts)
        assert "apt" not in said(facts)


def test_what_is_to_be_typed_is_quoted_as_every_shell_takes_it(facts: doctor.Facts) -> None:
    facts["window"].update(napari=None, opengl=None)
    (typed,) = re.findall("`(pip [^`]*)`", said(facts))
    assert typed == 'pip install "cmfnet-napari[all]"'  # ' is no quote in cmd, [ is special in zsh


def test_old_opengl_of_a_remote_desktop(facts: doctor.Facts) -> None:
    facts["window"]["opengl"].update(renderer="GDI Generic", version="1.1.0")
    assert "OpenGL 1.1.0 of GDI Generic is too old" in said(facts)
    assert "The window can open" not in said(facts)


def test_short_of_memory_and_disk(facts: doctor.Facts) -> None:
    facts["memory"]["free_gib"] = 1.25
    facts["cases"]["free_gib"] = 0.5
    assert "Only 1.2 GiB of memory are free and 4 are needed" in said(facts)
    assert "Only 0.5 GiB are free where cases are kept and 2 are needed" in said(facts)


def test_report_prints_facts_and_whole_sentences(facts: doctor.Facts) -> None:
    facts["sentences"] = ['Install it with `pip install "cmfnet-napari[all]"`. ' + "Word " * 40]
    out = io.StringIO()
    doctor.report(facts, Console(file=out, width=80))
    text = out.getvalue()
    assert facts["sentences"][0] in text  # neither wrapped nor taken for markup
    assert "Radeon RX, 4.6" in text
    assert "20.0 of 32.0 GiB free" in text
    assert "not installed" in text.split("vispy")[1].splitlines()[0]


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can lack a display")
@pytest.mark.usefixtures("no_display")
def test_this_machine_without_a_display(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "jane.doe"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CMFNET_CASES", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    facts = doctor.examine()
    text = json.dumps(facts)
    assert "jane.doe" not in text
    assert facts["cases"]["folder"].startswith("~")
    assert facts["window"]["opengl"] is None
    assert facts["window"]["why"]
    assert facts["cores"] == Path("/proc/cpuinfo").read_text().count("processor\t:")
    total = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20  # MemTotal in KiB
    assert facts["memory"]["total_gib"] == pytest.approx(total, rel=1e-6)
    assert facts["torch"]["threads"] >= 1


def test_chosen_cases_folder_is_named_though_it_is_not_there_yet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path / "not" / "yet"))
    cases = doctor._cases()
    assert cases["folder"] == str(tmp_path / "not" / "yet")
    assert cases["free_gib"] > 0


@pytest.mark.window
@pytest.mark.skipif(sys.platform != "linux", reason="Xvfb is a Linux program")
@pytest.mark.usefixtures("no_display")
def test_opengl_on_a_virtual_screen(monkeypatch: pytest.MonkeyPatch, xvfb: str) -> None:
    monkeypatch.setenv("DISPLAY", xvfb)
    window = doctor._window()
    assert "llvmpipe" in window["opengl"]["renderer"]  # Xvfb has no GPU
    assert window["opengl"]["max_3d_texture"] >= 256  # the least that OpenGL allows
    assert "3D views are slow" in doctor._on_window(window)


@pytest.mark.skipif(os.name == "nt", reason="plays the driver with a shell script")
@pytest.mark.parametrize(
    ("driver", "why"),
    [
        ("exec sleep 60", "did not answer within"),
        ("kill -SEGV $$", "ended with code -11"),
        ("echo no GLX on this screen >&2; exit 3", "no GLX on this screen"),
        (
            "printf 'Traceback (most recent):\\n  x\\nImportError: no libGL\\n' >&2; exit 1",
            "no libGL",
        ),
    ],
)
def test_a_bad_driver_does_not_kill_doctor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: str, why: str
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{driver}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(doctor, "OPENGL_SECONDS", 0.5)
    opengl, reason = doctor._opengl()
    assert opengl is None
    assert why in reason
