"""Files that are written whole or not at all."""

import errno

import pytest

from cmfnet_napari.core import files
from cmfnet_napari.core.errors import UserError


def test_a_line_is_added_whole_and_a_half_one_stays_by_itself(tmp_path):
    path = tmp_path / "events.jsonl"
    files.append_line(path, "first")
    with open(path, "ab") as file:
        file.write(b'{"event": "fini')  # the disk was full
    files.append_line(path, "Tumour α")
    assert path.read_text(encoding="utf-8").splitlines() == [
        "first",
        '{"event": "fini',
        "Tumour α",
    ]


def test_a_line_that_does_not_fit_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    files.append_line(path, "first")

    class Full:
        """A file whose disk takes three bytes more."""

        def __init__(self, file):
            self.file, self.tell, self.truncate = file, file.tell, file.truncate

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.file.write(data[:3])
            self.file.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

    real = open
    monkeypatch.setitem(
        files.__dict__, "open", lambda *w: Full(real(*w)) if w[1] == "ab" else real(*w)
    )
    with pytest.raises(UserError, match="disk is full"):
        files.append_line(path, "second")
    assert path.read_bytes() == b"first\n"
