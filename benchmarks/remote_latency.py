"""How long a contour on another computer takes beyond one made here.

python benchmarks/remote_latency.py --on HOST [--delay-ms 50]

The phantom is opened and contoured by the base model, then a stroke is drawn; both are timed with
the worker here and with the one on HOST, whose line is delayed by so much each way (a command
between ssh and the network, as `ssh -o ProxyCommand`).
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import select
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

import numpy as np

from cmfnet_napari import api
from cmfnet_napari.core.case.folder import create_case
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.model_card import model_path, read_card, start_config
from cmfnet_napari.core.isolation import python_command
from cmfnet_napari.core.samples.phantom import write_phantom
from cmfnet_napari.core.strokes.entries import Stroke, difference
from cmfnet_napari.remote.hosts import host_called, ssh_command

MODEL = "limb-sarcoma"
STROKES = 3


def delayed(host: str, port: int, delay: float) -> None:
    """Stdin and stdout to a port and back, each byte `delay` seconds later."""
    line = socket.create_connection((host, port))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ways = {0: (line.sendall, deque()), line.fileno(): (lambda d: os.write(1, d), deque())}
    open_ = set(ways)
    while open_ or any(waiting for _, waiting in ways.values()):
        ready, _, _ = select.select(list(open_), [], [], 0.001)
        for number in ready:
            data = os.read(number, 1 << 16)
            if not data:
                return
            ways[number][1].append((time.monotonic() + delay, data))
        for write, waiting in ways.values():
            while waiting and waiting[0][0] <= time.monotonic():
                data = waiting.popleft()[1]
                while data:
                    data = data[write(data) or len(data) :]


class Worker:
    """The worker of a case, here or there, as the window starts it."""

    def __init__(self, case: Path, *options: str) -> None:
        command = python_command("-m", "cmfnet_napari", "worker", str(case), *options)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.said: queue.Queue = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.said.put(events.decode_event(line))

    def say(self, command: events.Command) -> None:
        self.process.stdin.write(events.encode(command).encode() + b"\n")
        self.process.stdin.flush()

    def until(self, kind: str) -> events.Event:
        while True:
            event = self.said.get(timeout=600)
            if isinstance(event, events.Failed):
                raise SystemExit(event.reason)
            if event is not None and event.event == kind:
                return event

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait(60)


def measure(folder: Path, *options: str) -> dict[str, float]:
    """Seconds from command to first contour, and from strokes to new ones (the median)."""
    folder.mkdir()
    files = write_phantom(folder)
    study = api.open_study(files["ct"], files["mr"])
    scribbles = api.load_scribbles(files["scribbles"], study)
    case = create_case(folder / "case", study)
    case.journal.append(difference(case.scribbles(), scribbles))
    worker = Worker(case.folder, *options)
    if options:
        while worker.until("line").state != "here":
            continue
    time.sleep(15)  # it is ready, as it is when the user has drawn
    config = start_config("quick", read_card(MODEL)).model_dump(mode="json")
    began = time.monotonic()
    worker.say(events.Fit(config=config, base=str(model_path(MODEL))))
    worker.until("preview")
    first = time.monotonic() - began
    worker.until("finished")
    last = time.monotonic() - began
    follows = []
    tumour = np.flatnonzero(scribbles == 2)
    for number in range(STROKES):
        time.sleep(1)
        voxels = tumour[: 5 + number] + 2
        code = np.full(voxels.size, 2, np.uint8)
        began = time.monotonic()
        case.journal.append(Stroke(voxels, scribbles.reshape(-1)[voxels], code))
        worker.say(events.Refine(model="runs/0001-quick"))
        worker.until("preview")
        follows.append(time.monotonic() - began)
        worker.until("finished")
    worker.end()
    case.close()
    return {"first_s": first, "finished_s": last, "stroke_s": float(np.median(follows))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", required=True)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--pipe", nargs=2, metavar=("HOST", "PORT"), help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.pipe:
        delayed(told.pipe[0], int(told.pipe[1]), told.delay_ms / 1000)
        return
    host_called(told.on)  # a name that is none is said at once
    script = [sys.executable, str(Path(__file__).absolute()), "--on", told.on]
    pipe = shlex.join([*script, "--delay-ms", str(told.delay_ms), "--pipe"]) + " %h %p"
    os.environ["CMFNET_SSH"] = shlex.join([*ssh_command(), "-o", f"ProxyCommand={pipe}"])
    with tempfile.TemporaryDirectory() as folder:
        here = measure(Path(folder, "here"))
        there = measure(Path(folder, "there"), "--on", told.on)
    print(json.dumps({"here": here, "there": there, "delay_ms": told.delay_ms}, indent=1))


if __name__ == "__main__":
    main()
