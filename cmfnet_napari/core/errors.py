"""What is written for the person in front of the screen: the one error, and what to check."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class UserError(Exception):
    """Something the user can act on.

    The message is one clear sentence that names what is wrong, with both values where two
    things disagree, and what to do. The command line prints it and exits with 1; the window
    shows it as a notification; the worker sends it as a ``failed`` event.
    """


class CancelledError(Exception):
    """The user ended something that was going on; there is nothing to say of it."""


class DataWarning(UserWarning):
    """Something about a file that was read, but that its user should know and check.

    The command line prints it, the window shows it, and a script sees a Python warning.

    Parameters
    ----------
    sentence : str
        What is shown.
    kept : str, optional
        The same without names of files, which may be patients': what is written anywhere. Not
        given where the sentence has none.
    """

    def __init__(self, sentence: str, kept: str = "") -> None:
        super().__init__(sentence)
        self.kept = kept or sentence


def say(sentence: str, kept: str = "") -> None:
    """Tell the user what to check in a file that was read; see `DataWarning`."""
    warnings.warn(DataWarning(sentence, kept), stacklevel=3)


def say_of(name: str, words: str) -> None:
    """The same of a file: its name, and the rest of the sentence, which is kept without it."""
    warnings.warn(DataWarning(f"{name} {words}", f"The file {words}"), stacklevel=3)


def list_names(names: Iterable[str], shown: int = 5) -> str:
    """Names for a message: the first few, and how many more."""
    names = list(names)
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def hear() -> Iterator[list[DataWarning]]:
    """What is said while this is open, in a list; it is shown as well."""
    said: list[DataWarning] = []
    show = warnings.showwarning

    def keep(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if isinstance(message, DataWarning):
            said.append(message)
        show(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        warnings.showwarning = keep
        yield said
