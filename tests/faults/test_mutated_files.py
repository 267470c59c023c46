"""Damaged files of every kind: a clean load or one clear sentence, never anything else."""

import os

from tests.faults import mutations
from tests.faults.mutate import Mutator
from tests.faults.mutate_reader import READERS
from tests.faults.mutate_samples import opened, write_samples

COUNT, SEED = 156, 4  # 13 of each kind


def test_damaged_files_are_read_or_refused_in_words(tmp_path):
    outcome = mutations.run(COUNT, tmp_path, SEED)
    assert outcome.files == COUNT
    assert outcome.failures == 0, outcome.notes
    assert outcome.loaded + outcome.refused == COUNT
    # Neither everything nor nothing is refused: the files are damaged, and the readers read.
    assert outcome.loaded >= COUNT // 10
    assert outcome.refused >= COUNT // 3
    assert set(outcome.kinds) == set(READERS)


def test_whole_files_are_read_and_failures_are_told_apart(tmp_path, monkeypatch):
    """The tool itself: it would see a traceback, a crash and a hang."""
    home = tmp_path / "home"
    home.mkdir()
    kinds = write_samples(tmp_path / "samples")
    reader = mutations.Reader(home)
    try:
        for kind, samples in kinds.items():
            for sample in samples:
                assert reader.read(kind, opened(sample)) == ("loaded", ""), sample
        outcome, why = reader.read("no such kind", home)
        assert (outcome, "KeyError" in why) == ("traceback", True)
        reader.process.kill()
        assert reader.read("NIfTI", opened(kinds["NIfTI"][0])) == ("crash", "SIGKILL")
        monkeypatch.setattr(mutations, "SECONDS", 0.5)
        os.mkfifo(home / "never.csv")  # reading waits for a writer
        assert reader.read("cohort", home / "never.csv")[0] == "hang"
    finally:
        reader.close()


def test_the_same_number_gives_the_same_damage(tmp_path):
    damaged = []
    for _ in range(2):
        path = tmp_path / "a.json"
        path.write_text('{"format": 1, "classes": [{"code": 1}], "study": "ab"}')
        mutator = Mutator(7, pool=20)
        for _ in range(5):
            mutator.mutate(path)
        damaged.append(path.read_bytes())
    assert damaged[0] == damaged[1]
