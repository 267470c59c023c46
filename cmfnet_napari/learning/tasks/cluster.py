"""Where jobs run: worker processes of this machine, a scheduler that is there already, or SLURM.

Everybody who can reach a scheduler can run code as its user. So a scheduler that is started here
takes only connections with certificates that are made for it alone, a local one on the loopback
address, and no page about what it does is served.

dask puts its scratch folder first on the path of Python's modules: who can write there runs code
too. So each run has one of its own, which only the user can enter, and not that in /tmp which
whoever came first has made.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import private_folder
from cmfnet_napari.core.isolation import python_command

if TYPE_CHECKING:
    from distributed import Client

LOCAL, SLURM = "local", "slurm"
_LOOPBACK = "127.0.0.1"
_AT_ONCE = 2  # jobs, unless told otherwise
_LEFT_FREE = 2**30  # bytes, for everything else on the machine
_PATIENCE_S = 10  # for a scheduler to answer
_EARLY_S = 300  # that a worker ends before SLURM ends it
# dask closes for good what looks after a worker that is not back after 15 s, as where the machine
# is busy; no other takes its place.
_NEVER_CLOSED = {"distributed.deploy.lost-worker-timeout": "1000 days"}
# No pages about tasks and workers.
_DASK: dict[str, Any] = {
    # A job whose worker is lost, as by SLURM when its time is up, is given up by `run_tasks`, where
    # it gets no further. dask would after the fourth, however far the job got, and counts those too
    # that only waited on the worker.
    "distributed.scheduler.allowed-failures": 10**6,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.daemon": False,  # nnU-Net starts processes of its own
    "distributed.worker.profile.enabled": False,  # a look at every 10 ms, at 5 % of the core
    # dask has workers give memory back at once. A network takes the same memory at every step: the
    # pages were made anew each time, a third of it.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
}
# One core each, memory kept, no pages, and no modules from the folder that a job is submitted from.
_PROLOGUE = [
    "export OMP_NUM_THREADS=1",
    "export PYTHONSAFEPATH=1",
    "export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'",
    "export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False",
    "export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON=\"{'MALLOC_TRIM_THRESHOLD_': None}\"",
]


@dataclass(frozen=True)
class Workers:
    """Where jobs run, and how many at once.

    Attributes
    ----------
    scheduler : str
        ``local``: processes of this machine; the address of a scheduler, such as
        ``tcp://host:8786``; ``slurm``: jobs of a cluster that this machine submits to.
    at_once : int or None
        None: two here where cores and memory allow; as many SLURM jobs as there is work for. A
        scheduler that is there already has its own workers.
    memory : float
        Bytes that a job needs.
    folder : Path or None
        Shared with SLURM's machines; takes certificates and what workers print.
    """

    scheduler: str = LOCAL
    at_once: int | None = None
    memory: float = 0.0
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.scheduler not in (LOCAL, SLURM) and "://" not in self.scheduler:
            raise UserError(
                f"There is no scheduler {self.scheduler!r}; give local, slurm or an address such "
                "as tcp://host:8786."
            )

    @property
    def waiting(self) -> str:
        """What is said while no worker is at a job; a SLURM job may end before it gets that far."""
        printed = f"; what they print is in {self.shared}" if self.scheduler == SLURM else ""
        return f"waiting for workers{printed}"

    @property
    def shared(self) -> Path:
        """Certificates, and what workers print."""
        return (self.folder or Path.cwd()) / "cluster"

    def here(self, jobs: int) -> int:
        """How many of so many jobs run at once on this machine."""
        if self.at_once is not None:
            return min(self.at_once, jobs)
        free = psutil.virtual_memory().available - _LEFT_FREE
        allowed = int(free // self.memory) if self.memory else _AT_ONCE
        return max(1, min(_AT_ONCE, _cores(), allowed, jobs))


@contextmanager
def open_client(workers: Workers, jobs: int) -> Iterator[Client]:
    """A scheduler with workers for so many jobs; what was started ends with it.

    Raises
    ------
    UserError
        A package is missing; no scheduler answers; SLURM cannot be used here.
    """
    import dask
    import distributed  # noqa: F401  its defaults must be there before any is changed

    with dask.config.set(_DASK):
        if workers.scheduler == LOCAL:
            kept, count = dask.config.set(_NEVER_CLOSED), workers.here(jobs)
            with kept, _scratch(), _local(count) as client:
                yield client
        elif workers.scheduler == SLURM:
            with _slurm(workers, jobs) as client:
                yield client
        else:
            with _connected(workers.scheduler) as client:
                yield client


@contextmanager
def _scratch(within: Path | None = None) -> Iterator[str]:
    """Scratch folder of dask for this run, the user's alone; gone with it, from the path too."""
    import dask

    with tempfile.TemporaryDirectory("", "dask-", within, ignore_cleanup_errors=True) as folder:
        try:
            with dask.config.set({"temporary-directory": folder}):
                yield folder
        finally:
            sys.path[:] = [name for name in sys.path if not name.startswith(folder)]


@contextmanager
def _local(count: int) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    from cmfnet_napari.learning.tasks.in_worker import OnThisMachine

    try:
        with _interrupts_wait():
            cluster: Any = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                host=_LOOPBACK,
                protocol="tls://",
                security=True,
                dashboard_address=None,
                memory_limit=0,  # nothing of ours lies in dask's memory
                silence_logs=logging.CRITICAL,
            )
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{count} worker processes could not be started ({_said(error)}). Try --at-once 1."
        ) from error
    with cluster, Client(cluster, set_as_default=False) as client:
        cluster.scheduler.http_server.stop()
        client.register_plugin(OnThisMachine())
        yield client


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C waits, and for processes that are started meanwhile, or by their threads, for good.

    It goes to all processes of a terminal; workers wait to be told to stop.
    """
    if hasattr(signal, "pthread_sigmask"):  # not on Windows; there the plugin sees to it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=_PATIENCE_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"No scheduler answers at {address} ({_said(error)}). Start one with dask scheduler, "
            "or check the address."
        ) from error
    with client:
        yield client


@contextmanager
def _slurm(workers: Workers, jobs: int) -> Iterator[Client]:
    from distributed import Client

    try:
        kind = import_module("dask_jobqueue.slurm").SLURMCluster
    except ImportError:
        raise UserError(
            'SLURM needs a package more. Install it with: pip install "cmfnet-napari[slurm]"'
        ) from None
    count = workers.at_once or jobs
    with _submitting(kind, workers) as cluster:
        cluster.adapt(minimum_jobs=0, maximum_jobs=min(count, jobs))  # another for one that is lost
        with Client(cluster, set_as_default=False) as client:
            yield client


@contextmanager
def _submitting(kind: Any, workers: Workers) -> Iterator[Any]:
    """A cluster of jobs of one core each; jobqueue.yaml of dask says queue, account and time."""
    folder = workers.shared
    try:
        private_folder(folder)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be made ({error.strerror}).") from error
    with _scratch(folder) as scratch:
        cluster = _cluster(kind, workers, folder, scratch)
        with cluster:
            cluster.scheduler.http_server.stop()
            yield cluster


def _cluster(kind: Any, workers: Workers, folder: Path, scratch: str) -> Any:
    gibibytes = max(2, -(-int(workers.memory) // 2**30))
    try:
        return kind(
            cores=1,
            processes=1,
            memory=f"{gibibytes}GiB",
            python=shlex.join(python_command()),
            security=True,
            local_directory=scratch,
            shared_temp_directory=str(folder),
            log_directory=str(folder),
            scheduler_options={"dashboard_address": f"{_LOOPBACK}:0", "dashboard": False},
            worker_extra_args=_worker_options(),
            job_script_prologue=_PROLOGUE,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"SLURM cannot be used here ({_said(error)}).") from error


def _worker_options() -> list[str]:
    """No page, SLURM's limit of memory alone, and an end before SLURM's, not all at once."""
    import dask

    options = ["--no-dashboard", "--memory-limit", "0"]
    seconds = walltime_seconds(str(dask.config.get("jobqueue.slurm.walltime", "") or ""))
    if seconds is None:
        return options
    early = min(_EARLY_S, seconds // 5)
    lifetime = ["--lifetime", f"{seconds - early}s", "--lifetime-stagger", f"{early // 2}s"]
    return options + lifetime


def walltime_seconds(text: str) -> int | None:
    """A time as SLURM's ``sbatch --time`` takes it; None where it says none.

    ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``,
    ``days-hours:minutes``, ``days-hours:minutes:seconds``.
    """
    days, dash, rest = text.strip().rpartition("-")
    parts = rest.split(":")
    if len(parts) > 3 or not all(part.isdecimal() for part in [*parts, days or "0"]):
        return None
    numbers = [int(part) for part in parts]
    if dash or len(numbers) == 3:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    else:
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds or None


def _cores() -> int:
    """Of this machine that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
