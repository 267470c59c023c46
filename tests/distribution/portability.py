"""Finds what works on one system only: names that Windows lacks, and calls that differ there.

A name that may be missing counts as guarded within a ``try`` that catches its absence, or under a
condition that asks for the system or for the name (``os.name``, ``sys.platform``, ``hasattr``).
What is there but fails on Windows, such as links without the right to make them, counts as
guarded within a ``try`` that catches OSError.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator


def _words(text: str) -> set[str]:
    return set(text.split())


MODULES = _words(
    "crypt curses fcntl grp nis ossaudiodev posix pty pwd readline resource spwd syslog termios tty"
)
# What typeshed has for Linux or macOS but not for Windows, as far as anybody uses it.
NAMES = {
    "os": _words(
        "O_CLOEXEC O_DIRECT O_DIRECTORY O_NOATIME O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC "
        "O_TMPFILE WEXITSTATUS WIFEXITED WIFSIGNALED WNOHANG WTERMSIG chflags chown chroot "
        "confstr environb eventfd fchdir fchmod fchown fdatasync fork forkpty fpathconf fstatvfs "
        "fwalk get_blocking getegid geteuid getgid getgroups getloadavg getpgid getpgrp "
        "getpriority getrandom getresuid getsid getuid getxattr killpg lchmod lchown listxattr "
        "lockf major memfd_create minor mkfifo mknod nice openpty pathconf pidfd_open pipe2 "
        "posix_fadvise posix_fallocate posix_spawn posix_spawnp pread preadv pwrite pwritev readv "
        "register_at_fork removexattr sched_getaffinity sched_setaffinity sched_setscheduler "
        "sched_yield sendfile set_blocking setegid seteuid setgid setpgid setpriority setsid "
        "setuid setxattr spawnlp spawnvp splice statvfs sync sysconf tcgetpgrp ttyname uname wait "
        "wait3 wait4 waitid writev"
    ),
    "signal": _words(
        "ITIMER_REAL SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGPROF SIGQUIT "
        "SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH SIGXCPU SIG_BLOCK SIG_UNBLOCK alarm getitimer "
        "pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait "
        "sigwaitinfo"
    ),
    "time": {"CLOCK_MONOTONIC", "CLOCK_REALTIME", "clock_gettime", "clock_gettime_ns", "tzset"},
    "select": {"epoll", "kqueue", "poll"},
    "socket": {"AF_UNIX", "SO_REUSEPORT", "recv_fds", "send_fds"},
    "mmap": {"MAP_PRIVATE", "MAP_SHARED", "PROT_READ", "PROT_WRITE"},
}
DIFFERENT = {
    "os.kill": "ends the process on Windows, also with signal 0",
    "os.rename": "does not replace a file on Windows: os.replace",
}
FAILS = {"os.link", "os.symlink", "symlink_to", "hardlink_to"}
FOLDERS = re.compile(r"/(bin|dev|etc|home|opt|proc|run|sys|tmp|usr|var)(/|$)")
PROCESS = {"run", "Popen", "call", "check_call", "check_output"}
TEXT_MODE = re.compile(r"[rwax]t?\+?t?")
SYSTEM = re.compile(r"os\.name|sys\.platform|platform\.system|hasattr|WINDOWS|POSIX|LINUX|MACOS")
ABSENT = {"AttributeError", "ImportError", "ModuleNotFoundError", "NameError", "Exception"}
FAILED = {"OSError", "FileNotFoundError", "PermissionError", "NotImplementedError", "Exception"}


def find(code: str) -> list[str]:
    """What of some Python code works on one system only, as "line: words"."""
    tree = ast.parse(code)
    finder = _Finder(tree)
    finder.visit(tree)
    return [f"{line}: {words}" for line, words in sorted(finder.found)]


class _Finder(ast.NodeVisitor):
    def __init__(self, tree: ast.Module) -> None:
        self.found: set[tuple[int, str]] = set()
        self._caught: list[set[str]] = []  # of the tries around; an empty set is a platform check
        self._names = {
            alias.asname: alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
            if alias.asname
        }
        self._docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }

    def _add(self, node: ast.AST, words: str, unless: set[str] = frozenset()) -> None:
        if not any(not caught or caught & unless for caught in self._caught):
            self.found.add((node.lineno, words))

    # guards
    def visit_Try(self, node: ast.Try) -> None:
        caught = {name for handler in node.handlers for name in _caught(handler)}
        self._within([caught] if caught else [], node.body)
        self._within([], [*node.handlers, *node.orelse, *node.finalbody])

    def visit_With(self, node: ast.With) -> None:
        caught = {
            _dotted(argument)
            for item in node.items
            if isinstance(item.context_expr, ast.Call)
            and _dotted(item.context_expr.func).endswith("suppress")
            for argument in item.context_expr.args
        }
        self._within([], node.items)
        self._within([caught] if caught else [], node.body)

    def visit_If(self, node: ast.If | ast.IfExp) -> None:
        guard = [set()] if SYSTEM.search(ast.unparse(node.test)) else []
        self._within(guard, list(ast.iter_child_nodes(node)))

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit_If(node)

    def _within(self, guard: list[set[str]], nodes: list[ast.AST]) -> None:
        self._caught += guard
        for node in nodes:
            self.visit(node)
        del self._caught[len(self._caught) - len(guard) :]

    # names
    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name in MODULES:
                self._add(node, f"import {alias.name}", ABSENT)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for name in (alias.name for alias in node.names):
            if node.module in MODULES:
                self._add(node, f"import {node.module}", ABSENT)
            elif name in NAMES.get(node.module or "", ()):
                self._add(node, f"{node.module}.{name}", ABSENT)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self._name(node)
        module, _, last = name.rpartition(".")
        if last in NAMES.get(module, ()):
            self._add(node, name, ABSENT)
        elif name in DIFFERENT:
            self._add(node, f"{name} {DIFFERENT[name]}")
        elif name in FAILS or last in FAILS:
            self._add(node, f"{last} needs a right on Windows", FAILED)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if ast.unparse(node) in ("os.environ['HOME']", "os.environ['TMPDIR']"):
            self._add(node, f"{ast.unparse(node)} is not set on Windows", {"KeyError"})
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        text = node.value
        if isinstance(text, str) and FOLDERS.match(text) and id(node) not in self._docstrings:
            self._add(node, f"folder {text}", FAILED)

    # calls
    def visit_Call(self, node: ast.Call) -> None:
        options = {keyword.arg: keyword.value for keyword in node.keywords}
        name = self._name(node.func)
        for words in self._call(node, name, name.rpartition(".")[2], options):
            self._add(node, words)
        self.generic_visit(node)

    def _call(
        self, node: ast.Call, name: str, last: str, options: dict[str | None, ast.expr]
    ) -> Iterator[str]:
        if None in options:  # **options: nobody knows
            return
        if _opens_text(node, name, last) and "encoding" not in options:
            yield f"{last} without encoding"
        if name.startswith("subprocess.") and last in PROCESS:
            if {"text", "universal_newlines"} & set(options) and "encoding" not in options:
                yield "subprocess with text without encoding"
            for option in {"preexec_fn", "pass_fds", "shell"} & set(options):
                yield f"subprocess with {option}"
        if last == "NamedTemporaryFile" and not {"delete", "delete_on_close"} & set(options):
            yield "NamedTemporaryFile cannot be opened again by name on Windows"
        if last in ("get_context", "set_start_method") and "fork" in ast.unparse(node):
            yield "processes by fork"
        if last == "strftime" and "%-" in ast.unparse(node):
            yield "strftime with %-"

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
        names = {self._name(call.func) for call in calls}
        if names & {"csv.writer", "csv.DictWriter", "csv.reader", "csv.DictReader"}:
            for call in calls:
                options = {keyword.arg for keyword in call.keywords}
                name = self._name(call.func)
                text = _opens_text(call, name, name.rpartition(".")[2]) and "open" in name
                if text and not {"newline", None} & options:
                    self._add(call, "csv in a file without newline=''")
        self.generic_visit(node)

    def _name(self, node: ast.AST) -> str:
        first, dot, rest = _dotted(node).partition(".")
        return self._names.get(first, first) + dot + rest


def _opens_text(node: ast.Call, name: str, last: str) -> bool:
    """Whether a call reads or writes text in an encoding that is not said by position."""
    if last in ("read_text", "write_text"):
        return "." in name and len(node.args) <= (last == "write_text")
    modes = [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
    if name in ("open", "io.open", "os.fdopen") or last in ("NamedTemporaryFile", "TemporaryFile"):
        position = 0 if "Temporary" in last else 1
        mode = next(iter([*modes, *node.args[position : position + 1]]), None)
        if mode is None:
            return "Temporary" not in last  # those are binary unless told
        return isinstance(mode, ast.Constant) and "b" not in str(mode.value)
    if last == "open" and (mode := next(iter([*modes, *node.args]), None)) is not None:
        packed = name.split(".")[0] in ("gzip", "bz2", "lzma")
        values = [a.value for a in [*modes, *node.args] if isinstance(a, ast.Constant)]
        if packed:
            return any("t" in str(value) for value in values)
        return any(TEXT_MODE.fullmatch(str(value)) for value in values)  # Path.open
    return False


def _caught(handler: ast.ExceptHandler) -> Iterator[str]:
    if handler.type is None:
        yield "Exception"
    elif isinstance(handler.type, ast.Tuple):
        yield from map(_dotted, handler.type.elts)
    else:
        yield _dotted(handler.type)


def _dotted(node: ast.AST) -> str:
    """``a.b.c`` of names and attributes; what else the first part is, is left out."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
