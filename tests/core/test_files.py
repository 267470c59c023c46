"""Files that are written whole or not at all."""

import subprocess
import sys
from pathlib import Path

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


def test_a_folder_is_new_where_a_process_was_killed_before_it_wrote_anything(tmp_path):
    def killed(part):
        assert files.new_folder(tmp_path) == tmp_path  # one that starts beside it
        part.write_text("{")
        kept.extend([part.with_name("plan.json"), *tmp_path.iterdir()])
        raise KeyboardInterrupt

    kept = []
    with pytest.raises(KeyboardInterrupt):
        files.write_safely(tmp_path / "plan.json", ".json", killed)
    kept[1].write_text("{")  # as a kill leaves it
    assert files.new_folder(tmp_path) == tmp_path
    (tmp_path / ".0123456789abcdef.json").write_text("{}")
    with pytest.raises(UserError, match="already holds something"):
        files.new_folder(tmp_path)


_LIMITED = """
import resource, sys
from pathlib import Path
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import append_line
resource.setrlimit(resource.RLIMIT_FSIZE, (9, 9))  # room for three bytes more
try:
    append_line(Path(sys.argv[1]), "second")
except UserError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a file's size is not limited there")
def test_a_line_that_does_not_fit_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "events.jsonl"
    files.append_line(path, "first")
    command = [sys.executable, "-c", _LIMITED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "events.jsonl could not be written" in done.stderr
    assert path.read_bytes() == b"first\n"


def test_the_folder_of_a_relative_path_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"no.json in {tmp_path.name} is missing"):
        files.read_json(Path("no.json"))
