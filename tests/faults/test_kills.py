"""The window, its worker or both killed at random moments: nothing is lost."""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.case.folder import create_case
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.strokes.corrections import Corrections
from cmfnet_napari.core.strokes.journal import Journal
from tests.faults import journal_session, kills
from tests.forked import Forked

pytest.importorskip("napari", reason="the window needs napari: pip install 'cmfnet-napari[all]'")
needs_display = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("xvfb-run") is None,
    reason="no xvfb-run: apt-get install xvfb",
)

# Three kills, with sleeps that are short: a worker in the middle of its fit, the window that has
# said so, and the next window while it goes on with that fit.
COUNT, SEED = 3, 287471
JOURNAL_KILLS = 12


def kill_writers(folder, count, seed=0):
    """Kill a program that writes one journal, again and again; return entries told, and lost."""
    path, chance, told, lost = folder / "strokes.sqlite", random.Random(seed), 0, 0
    for number in range(count):
        writer = Forked("core", "tests.faults.journal_session:main", path, seed * 1000 + number)
        lines = [writer.stdout.readline()]
        threading.Timer(chance.uniform(0, 0.3), writer.kill).start()
        lines += list(writer.stdout)
        writer.wait()
        writer.close()
        whole = [line.split() for line in lines if line.endswith("\n") and line.count(" ") == 2]
        journal, scribbles = Journal(path), np.zeros(journal_session.SHAPE, np.uint8)
        corrections, states = Corrections(scribbles.shape), {}
        for entry_number, entry in journal.entries():
            journal_session.follow(scribbles, corrections, entry_number, entry)
            states[entry_number] = journal_session.state(scribbles, corrections)
        journal.close()
        told += len(whole)
        lost += sum(states.get(int(n)) != (int(a), int(b)) for n, a, b in whole)
    return told, lost


def test_a_journal_of_strokes_and_corrections_whose_writer_is_killed_loses_none(tmp_path):
    told, lost = kill_writers(tmp_path, JOURNAL_KILLS)
    assert told > JOURNAL_KILLS
    assert lost == 0


@pytest.mark.slow
@pytest.mark.window
@needs_display
def test_kills_lose_nothing(tmp_path):
    command = ["xvfb-run", "-a", sys.executable, "-m", "tests.faults.kills"]
    out = tmp_path / "outcome.json"
    options = ["--count", str(COUNT), "--seed", str(SEED), "--json", str(out)]
    environment = {**os.environ, "LIBGL_ALWAYS_SOFTWARE": "1"}
    run = subprocess.run([*command, *options], env=environment, timeout=1800, check=False)
    outcome = kills.Outcome(**json.loads(out.read_text(encoding="utf-8")))
    assert (run.returncode, outcome.good) == (0, True), outcome.notes
    assert outcome.kills == COUNT
    assert (outcome.fits, outcome.resumed, outcome.kills_of_worker) == (2, 1, 1)
    assert outcome.broken_off == 2
    assert outcome.strokes > 0
    assert outcome.corrections > 0


def test_what_is_lost_would_be_seen(tmp_path):
    """The tool itself: a promised stroke that is not in the journal counts as lost."""
    kills.write_patient(tmp_path)
    images = (sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("ct", "mr"))
    create_case(tmp_path / "cases" / "one", study_from_images(*images)).close()
    outcome = kills.Outcome()
    line = {"what": "stroke", "sum": 1, "words": 0, "shown": True}
    said = [{**line, "time": at} for at in (10.0, 11.9)]
    kills._check(tmp_path, 0, said, 12.0, outcome)
    assert (outcome.strokes, outcome.lost, outcome.good) == (1, 1, False)  # half a second is given
    nothing = {"sum": zlib.crc32(bytes(12 * 20 * 16)), "shown": False, "time": 10.0}
    kills._check(tmp_path, 0, [{**line, **nothing, "what": "correction"}], 12.0, outcome)
    assert (outcome.corrections, outcome.lost, outcome.not_shown) == (1, 1, 1)
    damaged = tmp_path / "cases" / "one" / "case.json"
    damaged.write_text("{", encoding="utf-8")
    kills._check(tmp_path, 0, [], 12.0, outcome)
    assert outcome.unopenable == 1
