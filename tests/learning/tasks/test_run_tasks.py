"""Tasks on real worker processes of this machine: each done once, also when one is lost."""

import os
import re
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial

import psutil
import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.tasks import cluster
from cmfnet_napari.learning.tasks.cluster import Workers
from cmfnet_napari.learning.tasks.run_tasks import Task, run_tasks

STEPS = 10


def count(folder, pause, hooks):
    """Count to STEPS, from where the folder says, and note who did which step."""
    folder.mkdir(exist_ok=True)
    with alone(folder):
        steps = folder / "steps.txt"
        done = len(steps.read_text().splitlines()) if steps.exists() else 0
        for number in range(done, STEPS):
            if hooks.stop():
                return False
            with open(steps, "a") as file:
                file.write(f"{number} {os.getpid()}\n")
            hooks.show(number / STEPS, f"step {number}")
            time.sleep(pause)
    return True


def refuse(hooks):
    raise UserError("Training diverged at step 3.")


def steps_of(folder):
    return [
        tuple(map(int, line.split()))
        for line in (folder / "steps.txt").read_text().split("\n")[:-1]
    ]


def listening():
    """Addresses that this process and its children listen on."""
    me = psutil.Process()
    sockets = [c for p in (me, *me.children(recursive=True)) for c in p.net_connections("inet")]
    return [c.laddr for c in sockets if c.status == psutil.CONN_LISTEN]


@pytest.mark.slow
def test_a_lost_workers_task_is_gone_on_with_and_nobody_outside_can_join(tmp_path):
    folders = [tmp_path / str(number) for number in range(4)]
    tasks = [Task(f"T{n}", partial(count, folder, 0.3)) for n, folder in enumerate(folders)]
    tasks.insert(1, Task("bad", refuse))
    killed, notes, addresses = [], [], []

    def watch(share, note):
        notes.append(note)
        begun = folders[0] / "steps.txt"
        if not killed and begun.exists() and len(steps_of(folders[0])) >= 3:
            addresses.extend(listening())
            killed.append(steps_of(folders[0])[0][1])
            os.kill(killed[0], signal.SIGKILL)

    before = listening()
    with pytest.raises(UserError) as caught:
        run_tasks(tasks, Workers(at_once=2), Hooks(watch))
    assert str(caught.value) == (
        "1 of 5 jobs could not be done; the same command tries them again:\n"
        "  bad: Training diverged at step 3."
    )
    for folder in folders:
        assert [number for number, _ in steps_of(folder)] == list(range(STEPS))
    assert killed[0] != os.getpid()
    assert steps_of(folders[0])[-1][1] != killed[0]
    assert any("T0: step" in note for note in notes)
    assert {address.ip for address in addresses} - {address.ip for address in before} <= {
        "127.0.0.1"
    }
    assert not set(listening()) - set(before)  # all that was started has ended


@pytest.mark.slow
def test_a_stranger_on_this_machine_cannot_talk_to_the_scheduler_and_a_wish_to_stop_is_heard(
    tmp_path,
):
    folders = [tmp_path / str(number) for number in range(3)]
    tasks = [Task(f"T{n}", partial(count, folder, 0.5)) for n, folder in enumerate(folders)]
    answers, wishes = [], []

    def watch(share, note):
        if "step" in note and not wishes:
            wishes.append(note)
            for address in listening():
                with socket.create_connection(address, timeout=2) as strange:
                    strange.sendall(b"GET /info/main/workers.html HTTP/1.1\r\nHost: a\r\n\r\n")
                    strange.settimeout(2)
                    try:
                        answers.append(strange.recv(100))
                    except (TimeoutError, ConnectionError):
                        answers.append(b"")

    assert not run_tasks(tasks, Workers(at_once=2), Hooks(watch, lambda: bool(wishes)))
    assert not any(b"HTTP" in answer or b"workers" in answer for answer in answers)
    assert len(steps_of(folders[0])) < STEPS
    assert not (folders[2] / "steps.txt").exists()


def test_in_turn_one_that_fails_stops_no_other(tmp_path):
    tasks = [Task("bad", refuse), Task("good", partial(count, tmp_path / "good", 0.0))]
    shown = []
    with pytest.raises(UserError, match=r"1 of 2 jobs .*\n  bad: Training diverged"):
        run_tasks(tasks, Workers(at_once=1), Hooks(lambda share, note: shown.append((share, note))))
    assert len(steps_of(tmp_path / "good")) == STEPS
    assert shown[-1] == (pytest.approx((1 + 0.9) / 2), "good: step 9")
    with pytest.raises(UserError, match=r"^Training diverged at step 3\.$"):
        run_tasks(tasks[:1], Workers(at_once=1), Hooks())


def test_two_run_at_once_where_cores_and_memory_allow(monkeypatch):
    free = type("Memory", (), {"available": 5 * 2**30})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(cluster, "_cores", lambda: 8)
    assert [Workers(memory=m * 2**30).here(9) for m in (0.5, 2, 2.1, 9)] == [2, 2, 1, 1]
    assert [Workers(at_once=n, memory=9e9).here(3) for n in (1, 2, 8)] == [1, 2, 3]
    assert Workers().here(1) == 1
    monkeypatch.setattr(cluster, "_cores", lambda: 1)
    assert Workers().here(9) == 1


def test_a_scheduler_that_is_none_or_does_not_answer_is_named(monkeypatch):
    with pytest.raises(UserError, match="no scheduler 'pbs'; give local, slurm or an address"):
        Workers("pbs")
    monkeypatch.setattr(cluster, "_PATIENCE_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError, match=f"No scheduler answers at {address} .*dask scheduler"):
        run_tasks([Task("bad", refuse)], Workers(address), Hooks())


SBATCH = """#!/bin/sh
# Stands in for SLURM's: runs the script here, and keeps it.
cp "$1" {folder}/submitted.sh
sh "$1" >{folder}/worker.log 2>&1 &
echo $! >>{folder}/started.txt
echo "Submitted batch job $!"
"""


@pytest.mark.slow
def test_slurm_gets_jobs_of_one_core_with_certificates_for_this_run(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (
        ("sbatch", SBATCH.format(folder=tmp_path)),
        ("scancel", "#!/bin/sh\nkill $1\n"),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    tasks = [Task("T", partial(count, tmp_path / "t", 0.0))]
    assert run_tasks(tasks, Workers("slurm", folder=tmp_path), Hooks())
    assert len(steps_of(tmp_path / "t")) == STEPS
    script = (tmp_path / "submitted.sh").read_text()
    assert "#SBATCH --cpus-per-task=1\n" in script
    assert re.search(r"tls://\S+ .*--tls-key ", script)
    for process in (tmp_path / "started.txt").read_text().split():
        with suppress(psutil.NoSuchProcess):
            psutil.Process(int(process)).wait(30)


def test_slurm_without_its_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue.slurm", None)
    with pytest.raises(UserError, match=r"pip install \"cmfnet-napari\[slurm\]\""):
        run_tasks([Task("bad", refuse)], Workers("slurm"), Hooks())
