"""Windows and macOS cannot be tried where this is made: code that works on Linux only is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.distribution.portability import find

FOUND = {
    "import fcntl": "import fcntl",
    "from pwd import getpwuid": "import pwd",
    "def f():\n    import resource": "import resource",
    "import os\nos.fork()": "os.fork",
    "import os as o\no.nice(5)": "os.nice",
    "from os import setpriority": "os.setpriority",
    "import os\nos.getuid()": "os.getuid",
    "import os\nos.sysconf('SC_PAGE_SIZE')": "os.sysconf",
    "import os\nflags = os.O_RDONLY | os.O_NOFOLLOW": "os.O_NOFOLLOW",
    "import signal\nsignal.signal(signal.SIGHUP, f)": "signal.SIGHUP",
    "import os, signal\nos.kill(1, signal.SIGKILL)": "signal.SIGKILL",
    "import os\nos.kill(pid, 0)": "os.kill",
    "import os\ntry:\n    os.kill(pid, 0)\nexcept OSError:\n    pass": "os.kill",
    "import os\nos.rename(a, b)": "os.replace",
    "import os\nos.link(a, b)": "link needs",
    "path.symlink_to(other)": "symlink_to needs",
    "import os\ntry:\n    os.fork()\nexcept OSError:\n    pass": "os.fork",  # not what is raised
    "import os\ntry:\n    pass\nexcept AttributeError:\n    os.fork()": "os.fork",
    "import os\ntry:\n    os.fork()\nfinally:\n    pass": "os.fork",
    "path = '/tmp/x'": "folder /tmp/x",
    "path = Path('/proc')": "folder /proc",
    "NULL = '/dev/null'": "folder /dev/null",
    "open(path)": "open without encoding",
    "open(path, 'w')": "open without encoding",
    "open(path, mode='a')": "open without encoding",
    "path.open('w')": "open without encoding",
    "import gzip\ngzip.open(path, 'rt')": "open without encoding",
    "import os\nos.fdopen(1, 'w')": "fdopen without encoding",
    "path.read_text()": "read_text without encoding",
    "path.write_text(text)": "write_text without encoding",
    "import csv\ndef f():\n    o = open(p, 'w', encoding='utf-8')\n    csv.writer(o)": "newline",
    "import subprocess\nsubprocess.run(c, text=True)": "without encoding",
    "import subprocess\nsubprocess.run(c, shell=True)": "shell",
    "import subprocess\nsubprocess.Popen(c, preexec_fn=f)": "preexec_fn",
    "import tempfile\ntempfile.NamedTemporaryFile()": "NamedTemporaryFile cannot",
    "import os\nos.environ['HOME']": "HOME",
    "from multiprocessing import get_context\nget_context('fork')": "fork",
    "day.strftime('%-d %B')": "strftime",
    "import time\ntime.clock_gettime(0)": "time.clock_gettime",
    "import socket\nsocket.socket(socket.AF_UNIX)": "socket.AF_UNIX",
}  # fmt: skip
LEFT = [
    "try:\n    import fcntl\nexcept ImportError:\n    fcntl = None",
    "import os\nif hasattr(os, 'fork'):\n    os.fork()",
    "import os\nfork = getattr(os, 'fork', None)",
    "import os\nif os.name == 'posix':\n    os.nice(5)\nelse:\n    pass",
    "import os, sys\nn = 1 if sys.platform == 'win32' else os.getuid()",
    "import os\ntry:\n    os.nice(5)\nexcept AttributeError:\n    pass",
    "import os\nfrom contextlib import suppress\nwith suppress(AttributeError):\n    os.nice(5)",
    "import os\ntry:\n    os.link(a, b)\nexcept OSError:\n    copy(a, b)",
    "try:\n    open('/proc/cpuinfo', encoding='utf-8')\nexcept OSError:\n    pass",
    "import signal\nsignal.signal(signal.SIGTERM, f)",
    "import os\nos.replace(a, b)",
    '"""/tmp is where."""',
    "url = 'https://example.org/tmp'",
    "open(path, 'rb')\nopen(path, encoding='utf-8')\nopen(path, **options)",
    "path.read_text('utf-8')\npath.write_text(text, 'utf-8')\npath.read_bytes()",
    "import gzip\ngzip.open(path)\nsession.open(load)\ndialog.open()",
    "import csv\ndef f():\n    o = open(p, newline='', encoding='utf-8')\n    csv.reader(o)",
    "import subprocess\nsubprocess.run(c, encoding='utf-8', capture_output=True)",
    "import tempfile\ntempfile.NamedTemporaryFile(delete=False)",
]  # fmt: skip


@pytest.mark.parametrize("code", FOUND)
def test_found(code: str) -> None:
    assert any(FOUND[code] in words for words in find(code))


@pytest.mark.parametrize("code", LEFT)
def test_left(code: str) -> None:
    assert find(code) == []


def test_what_runs_at_users_works_on_every_system(root: Path) -> None:
    folders = ("cmfnet_napari", "examples", "scripts")
    files = sorted(file for name in folders for file in (root / name).rglob("*.py"))
    assert len(files) > 150
    found = {str(file.relative_to(root)): find(file.read_text(encoding="utf-8")) for file in files}
    assert {file: words for file, words in found.items() if words} == {}
