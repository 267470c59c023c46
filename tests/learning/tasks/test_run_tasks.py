"""Tasks on real worker processes of this machine: each done once, also when one is lost."""

import json
import os
import pickle
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import dask
import distributed
import psutil
import pytest
from distributed.scheduler import KilledWorker

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.core.isolation import python_command
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.tasks import cluster, in_worker
from cmfnet_napari.learning.tasks import run_tasks as running
from cmfnet_napari.learning.tasks.cluster import Workers
from cmfnet_napari.learning.tasks.in_worker import Outcome
from cmfnet_napari.learning.tasks.run_tasks import Task, _Run, run_tasks
from tests.forked import CAN_FORK, Forked, command

STEPS = 10
WITH_WORKERS, DASK = (f"tests.learning.programs:{name}" for name in ("scenario", "dask_command"))


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


def stumble(hooks):
    raise RuntimeError("CUDA out of memory")


def note_scratch(file, hooks):
    """dask's folders on this worker's path of modules, and whether others can get into them.

    What a step frees the next one takes: glibc is not told to give it back at once.
    """
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
    folders = [Path(name) for name in sys.path if "dask-scratch-space" in name]
    open_to = {str(f): all(p.stat().st_mode & 0o011 for p in (f, *f.parents)) for f in folders}
    file.write_text(json.dumps(open_to))
    return True


def check_scratch(file):
    """It was the user's alone, and is gone."""
    open_to = json.loads(file.read_text())
    assert set(open_to.values()) == ({False} if os.name == "posix" else set(open_to.values()))
    assert not any(Path(folder).exists() for folder in open_to)
    assert not any("dask-scratch-space" in name for name in sys.path)


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


def in_its_own_process(scenario, folder):
    """What a function of this file found, where workers are forked from one that imported all."""
    found = folder / "found.json"
    process = Forked("training", WITH_WORKERS, __name__, scenario.__name__, folder, found)
    said = process.stderr.read()
    assert process.wait() == 0, said
    process.close()
    return SimpleNamespace(**json.loads(found.read_text()))


def lose_a_worker(folder):
    folders = [folder / str(number) for number in range(4)]
    pauses = (0.2, 0.05, 0.05, 0.05)  # the first is looked at while it runs
    tasks = [Task(f"T{n}", partial(count, folders[n], pause)) for n, pause in enumerate(pauses)]
    tasks.insert(1, Task("bad", refuse))
    tasks.append(Task("scratch", partial(note_scratch, folder / "scratch.json")))
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
    check_scratch(folder / "scratch.json")
    return {
        "said": str(caught.value),
        "killed": killed[0],
        "told": any("T0: step" in note for note in notes),
        "hosts": sorted({address.ip for address in set(addresses) - set(before)}),
        "left": sorted(set(listening()) - set(before)),
    }


@pytest.mark.slow
def test_a_lost_workers_task_is_gone_on_with_and_nobody_outside_can_join(tmp_path):
    found = in_its_own_process(lose_a_worker, tmp_path)
    assert found.said == (
        "1 of 6 jobs could not be done; the same command tries them again:\n"
        "  bad: Training diverged at step 3."
    )
    for number in range(4):
        assert [number for number, _ in steps_of(tmp_path / str(number))] == list(range(STEPS))
    assert found.killed not in (os.getpid(), found.process)
    assert steps_of(tmp_path / "0")[-1][1] != found.killed
    assert found.told
    assert found.hosts == ["127.0.0.1"]
    assert not found.left  # all that was started has ended


def answers_to_a_stranger(address):
    """What somebody without the run's certificates is told: by HTTP, TLS, and a client of dask."""
    found = []
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for secure in (False, True):
        plain = socket.create_connection(address, timeout=2)
        with suppress(OSError), context.wrap_socket(plain) if secure else plain as strange:
            strange.sendall(b"GET /info/main/workers.html HTTP/1.1\r\nHost: a\r\n\r\n")
            found.append(strange.recv(100))
    with suppress(OSError):
        connection = distributed.Client(f"tcp://{address.ip}:{address.port}", timeout=1)
        found.append(connection.scheduler_info())
        connection.close()
    return [answer for answer in found if answer]


def try_as_a_stranger(folder):
    tasks = [Task(f"T{n}", partial(count, folder / str(n), 1.0)) for n in range(3)]
    addresses = []

    def watch(share, note):
        if "step" in note and not addresses:
            addresses.extend(accepting())

    stop = partial(heard, addresses, answers := {})
    complete = run_tasks(tasks, Workers(at_once=2), Hooks(watch, stop))
    given = [str(answer) for answer in answers.values() if answer]
    return {"complete": complete, "tried": len(answers), "given": given}


def accepting():
    """Addresses that this process or one of its workers listens on.

    A worker that was forked also has what its parent listened on before, where nobody accepts any
    more once that has closed it: such are those that all workers have and their parent has not.
    """
    me = psutil.Process()
    own, *others = (
        {c.laddr for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        for p in (me, *me.children(recursive=True))
    )
    return own.union(*others) - (set.intersection(*others) - own)


@pytest.mark.slow
def test_a_stranger_on_this_machine_cannot_talk_to_the_scheduler_and_a_wish_to_stop_is_heard(
    tmp_path,
):
    found = in_its_own_process(try_as_a_stranger, tmp_path)
    assert not found.complete
    assert found.tried >= 5  # a scheduler, and two workers with what looks after them
    assert found.given == []
    assert len(steps_of(tmp_path / "0")) < STEPS
    assert not (tmp_path / "2" / "steps.txt").exists()


def heard(addresses, answers):
    """The wish to stop, once all addresses were tried."""
    for address in addresses:
        if address not in answers:
            answers[address] = answers_to_a_stranger(address)
    return bool(answers)


def test_in_turn_one_that_fails_stops_no_other(tmp_path):
    good = Task("good", partial(count, tmp_path / "good", 0.0))
    tasks = [Task("bad", refuse), Task("worse", stumble), good]
    shown = []
    said = r"2 of 3 jobs .*\n  bad: Training diverged.*\n  worse: unexpected RuntimeError: CUDA out"
    with pytest.raises(UserError, match=said):
        run_tasks(tasks, Workers(at_once=1), Hooks(lambda share, note: shown.append((share, note))))
    assert len(steps_of(tmp_path / "good")) == STEPS
    assert shown[-1] == (pytest.approx((2 + 0.9) / 3), "good: step 9")
    with pytest.raises(UserError, match=r"^Training diverged at step 3\.$"):
        run_tasks(tasks[:1], Workers(at_once=1), Hooks())
    with pytest.raises(RuntimeError, match="CUDA"):  # alone, the command says where
        run_tasks(tasks[1:2], Workers(at_once=1), Hooks())


def test_in_turn_what_another_process_is_at_comes_last_and_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_ASKED_EVERY_S", 0.0)
    folders, notes, held = [tmp_path / "busy", tmp_path / "free"], [], ExitStack()
    folders[0].mkdir()
    held.enter_context(alone(folders[0]))

    def show(share, note):
        notes.append(note)
        if note.count("another process"):
            held.close()

    tasks = [Task(f.name, partial(count, f, 0.0)) for f in folders]
    assert run_tasks(tasks, Workers(at_once=1), Hooks(show))
    assert [note for note in dict.fromkeys(notes) if "step" not in note or "step 0" in note] == [
        "free: step 0",
        "busy: another process is at it",
        "busy: step 0",
    ]
    with alone(folders[0]):
        assert not run_tasks(tasks, Workers(at_once=1), Hooks(stop=lambda: True))
        with pytest.raises(UserError, match="Another process is writing into busy"):
            run_tasks(tasks[:1], Workers(at_once=1), Hooks())


class Scheduler:
    """Stands in for dask's client and its scheduler: futures that only a test moves on."""

    def __init__(self):
        self.futures, self.running, self.lost = {}, set(), False

    def submit(self, work, do, number, run, key):
        self.futures[number] = future = SimpleNamespace(key=key, status="pending", result=None)
        future.done = lambda: future.status != "pending"
        future.cancelled = lambda: future.status == "cancelled"
        return future

    def subscribe_topic(self, name, hear):
        self.hear = hear

    def tell(self, number, share, begins=False):
        note = {"number": number, "share": share, "note": "a step", "begins": begins}
        self.hear((0.0, note))

    def processing(self):
        if self.lost:
            raise OSError("Timed out")
        return {"worker": tuple(self.futures[number].key for number in self.running)}

    def cancel(self, futures):
        for future in futures:
            future.status = "cancelled"

    def complete(self, number):
        self.futures[number].result = lambda: Outcome(True)
        self.futures[number].status = "finished"

    def kill(self, number):
        """As a scheduler of others does after the fourth worker that is lost."""
        killed = KilledWorker(self.futures[number].key, None, 3)
        self.futures[number].exception = lambda: killed
        self.futures[number].status = "error"

    def drop(self):
        """The connection."""
        self.lost = True
        self.cancel(self.futures.values())


@pytest.fixture
def scheduled(monkeypatch):
    """Waits for two tasks: each look at them is one step of a script."""
    monkeypatch.setattr(running, "_LOOKED_EVERY_S", 0.0)
    monkeypatch.setattr(distributed, "Event", lambda *_, **__: SimpleNamespace(set=lambda: None))
    scheduler = Scheduler()

    def run(*script, stop=lambda: False):
        steps = iter(script)

        def show(share, note):
            next(steps)()  # StopIteration: it waits for ever

        tasks = [Task(name, refuse) for name in "ab"]
        return _Run(scheduler, tasks, Hooks(show, stop)).wait()

    return scheduler, run


def test_a_lost_connection_is_not_taken_for_a_wish_to_stop(scheduled):
    scheduler, run = scheduled
    with pytest.raises(UserError, match="The connection to the scheduler was lost"):
        run(scheduler.drop)


def test_a_wish_to_stop_does_not_wait_for_what_lost_its_worker(scheduled):
    """Also where that happens after the wish, and it may never get another."""
    scheduler, run = scheduled
    wishes = []

    def begin():
        scheduler.running = {0, 1}
        scheduler.tell(0, 0.5, begins=True)
        scheduler.tell(1, 0.5, begins=True)

    def lose(number):
        scheduler.running.discard(number)
        wishes.append(number)

    found = run(begin, partial(lose, 0), partial(lose, 1), lambda: None, stop=lambda: bool(wishes))
    assert found == (False, [])


def test_a_task_is_given_up_where_lost_workers_got_it_no_further(scheduled):
    """As dask's own count does: but a job of days may lose any number, as when its time is up."""
    scheduler, run = scheduled

    def lose_many():
        for share in range(1, 20):  # each gets a little further
            scheduler.tell(0, 0.0, begins=True)
            scheduler.tell(0, share / 20)
        for _ in range(5):
            scheduler.tell(1, 0.0, begins=True)
            scheduler.tell(1, 0.2)

    complete, problems = run(lose_many, lambda: None, partial(scheduler.complete, 0))
    assert not complete
    assert problems == [("b", "its process was lost several times, as when memory runs out.")]


def test_what_only_dask_has_given_up_is_submitted_again_as_long_as_it_gets_further(scheduled):
    scheduler, run = scheduled
    keys = set()

    def lose(*shares):
        for share in shares:
            scheduler.tell(0, 0.0, begins=True)
            scheduler.tell(0, share)
        keys.update(future.key for future in scheduler.futures.values())
        for number, future in scheduler.futures.items():
            if not future.done():
                scheduler.kill(number)  # the second, which only waited on the same worker, too

    further = [partial(lose, 0.2, 0.2, 0.2, 0.3), partial(lose, 0.3, 0.3, 0.4, 0.4)]
    found = run(*further, partial(scheduler.complete, 1), partial(lose, 0.4, 0.4, 0.4))
    assert found == (
        False,
        [("a", "its process was lost several times, as when memory runs out.")],
    )
    assert len(keys) == 6


def test_what_never_begins_is_given_up(scheduled):
    scheduler, run = scheduled
    kills = [partial(scheduler.kill, number) for _ in range(20) for number in (0, 1)]
    complete, problems = run(*kills)
    assert not complete
    assert [name for name, _ in problems] == ["a", "b"]


def test_a_task_is_told_to_begin_before_it_is_unpacked(monkeypatch):
    """Its modules may end the process: tries of one that nobody knows of would have no end."""
    told = []
    worker = SimpleNamespace(log_event=lambda run, message: told.append(message["begins"]))
    event = SimpleNamespace(is_set=lambda: False)
    monkeypatch.setattr(in_worker, "get_worker", lambda: worker)
    monkeypatch.setattr(in_worker, "Event", lambda run: event)
    with pytest.raises(pickle.UnpicklingError):
        in_worker.work(b"no task", 0, "run")
    assert told == [True]
    code = "import sys, cmfnet_napari.learning.tasks.in_worker; sys.exit('torch' in sys.modules)"
    assert subprocess.call(python_command("-c", code)) == 0


def test_dask_gives_up_neither_our_tasks_nor_what_looks_after_workers_here(monkeypatch):
    asked = {"scheduler.allowed-failures": [], "deploy.lost-worker-timeout": []}

    def note(*_, **__):
        for name, values in asked.items():
            values.append(dask.config.get(f"distributed.{name}"))
        return MagicMock()

    monkeypatch.setattr(distributed, "LocalCluster", note)
    monkeypatch.setattr(distributed, "Client", note)
    for where in (Workers(at_once=1), Workers("tcp://127.0.0.1:1")):
        with cluster.open_client(where, 1):
            note()
    assert min(asked["scheduler.allowed-failures"]) > 1000
    assert asked["deploy.lost-worker-timeout"] == ["1000 days"] * 3 + ["15s"] * 2


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
# Stands in for SLURM's: keeps the script, whose file dask removes then, and runs it here, with a
# worker that is forked.
cp "$1" {folder}/submitted.sh
sed 's|{program}|{forked}|' {folder}/submitted.sh >{folder}/run.sh
sh {folder}/run.sh >{folder}/worker.log 2>&1 &
echo $! >>{folder}/started.txt
echo "Submitted batch job $!"
"""


@pytest.mark.slow
def test_slurm_gets_jobs_of_one_core_with_certificates_for_this_run(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    program = shlex.join(python_command("-m", "distributed.cli.dask_worker"))
    forked = shlex.join(command("training", DASK, "worker")) if CAN_FORK else program
    for name, text in (
        ("sbatch", SBATCH.format(folder=tmp_path, program=program, forked=forked)),
        ("scancel", "#!/bin/sh\nkill $1\n"),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    tasks = [
        Task("T", partial(count, tmp_path / "t", 0.0)),
        Task("scratch", partial(note_scratch, tmp_path / "scratch.json")),
    ]
    notes = []
    hooks = Hooks(lambda share, note: notes.append(note))
    assert run_tasks(tasks, Workers("slurm", folder=tmp_path), hooks)
    assert notes[0] == f"waiting for workers; what they print is in {tmp_path / 'cluster'}"
    assert len(steps_of(tmp_path / "t")) == STEPS
    script = (tmp_path / "submitted.sh").read_text()
    assert "#SBATCH --cpus-per-task=1\n" in script
    assert re.search(rf"^{re.escape(program)} tls://\S+ .*--tls-key ", script, re.MULTILINE)
    assert re.search(rf" --local-directory {tmp_path}/cluster/dask-", script)
    assert " --lifetime 1500s --lifetime-stagger 150s" in script  # of dask's half an hour
    assert "export PYTHONSAFEPATH=1\n" in script
    check_scratch(tmp_path / "scratch.json")
    for process in (tmp_path / "started.txt").read_text().split():
        with suppress(psutil.NoSuchProcess):
            psutil.Process(int(process)).wait(30)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:30:00", 1800),
        ("90", 5400),
        ("10:30", 630),
        ("2-0", 172800),
        ("1-06:30", 109800),
        ("1-00:00:05", 86405),
        ("", None),
        ("UNLIMITED", None),
        ("0", None),
    ],
)
def test_times_are_read_as_slurm_reads_them(text, seconds):
    assert cluster.walltime_seconds(text) == seconds


def test_slurm_without_its_package_or_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setitem(sys.modules, "dask_jobqueue.slurm", SimpleNamespace(SLURMCluster=None))
    with pytest.raises(UserError, match=r"folder .*cluster cannot be made \("):
        run_tasks([Task("bad", refuse)], Workers("slurm", folder=tmp_path / "file"), Hooks())
    monkeypatch.setitem(sys.modules, "dask_jobqueue.slurm", None)
    with pytest.raises(UserError, match=r"pip install \"cmfnet-napari\[slurm\]\""):
        run_tasks([Task("bad", refuse)], Workers("slurm"), Hooks())
