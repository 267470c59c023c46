"""The line is cut at random moments, and the worker killed: nothing drawn is lost.

``CMFNET_CUTS=50 pytest tests/remote/test_cut_lines.py`` cuts as often as that.
"""

from __future__ import annotations

import os
import random
import time

import numpy as np
import psutil
import pytest

from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.remote.journal_digest import digest_of
from tests.learning.conftest import fit_command

from .conftest import kill

CUTS = int(os.environ.get("CMFNET_CUTS", "3"))
STEPS = 12


def draw(case, number):
    """A stroke of the class where there is one already: what is learnt stays the same."""
    voxels = np.array([9 * 34 * 38 + (15 + number % 4) * 38 + 19], np.int64)
    code = np.full(1, 2, np.uint8)
    case.journal.append(Stroke(voxels, code, code))


def workers(root):
    """Processes that compute for cases of this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "worker" in words and str(root) in words[-1]:
            found.append(process)
    return found


def cut(ssh, ear, how, chance):
    """Whether there was something to cut.

    A worker that was killed and has come no further since is left alone: it would be taken for one
    that needs too much memory, and go on with less, to another contour.
    """
    line, job = ear.relay._line, ear.relay._told.job
    try:
        if how == "ssh" and line is not None:
            kill(psutil.Process(line.process_id))
        elif how == "sshd" and (lines := ssh.of_lines()):
            kill(chance.choice(lines))
        elif how == "worker" and job and not job.deaths and (found := workers(ssh.there)):
            kill(found[0])
        else:
            return False
    except psutil.Error:
        return False
    return True


@pytest.mark.slow
def test_nothing_is_lost_and_the_contour_is_the_same(ssh, case, ball, listen, at_home):
    chance = random.Random(int(os.environ.get("CMFNET_SEED", "0")))
    _, files = at_home(steps=STEPS, width=2)
    ear = listen(case.folder)
    ear.until("line", "here")
    drawn = rounds = 0
    cuts = dict.fromkeys(("ssh", "sshd", "worker"), 0)
    while sum(cuts.values()) < CUTS:
        rounds += 1
        before = len(ear.said)
        ear.relay.take(fit_command(ball.config, steps=STEPS, width=2))
        while not any(e.event in ("finished", "failed") for e in ear.said[before:]):
            time.sleep(chance.uniform(0.0, 2.0))
            draw(case, drawn)
            drawn += 1
            how = chance.choice([how for how in cuts if cuts[how] == min(cuts.values())])
            if sum(cuts.values()) < CUTS:
                cuts[how] += cut(ssh, ear, how, chance)
        finished = ear.until("finished")
        for part, data in files.items():
            path = case.folder / getattr(finished, part)
            assert path.read_bytes() == data, (part, finished)
        assert len(case.runs()) == rounds
    (there,) = (ssh.there / "cases").glob("*/case/strokes.sqlite")
    end = time.monotonic() + 60
    while digest_of(there)[0] < 1 + drawn and time.monotonic() < end:  # the last one is on its way
        time.sleep(0.1)
    assert digest_of(there) == digest_of(case.folder / "strokes.sqlite")
    assert digest_of(there)[0] == 1 + drawn
    print(f"{cuts} cuts, {drawn} strokes, {rounds} fits")
