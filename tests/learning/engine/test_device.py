"""Where a training ran, as its tables say it."""

from __future__ import annotations

import pytest
import torch

from cmfnet_napari.learning.engine import device as devices


@pytest.mark.parametrize(("threads", "words"), [(1, "cpu, 1 thread"), (3, "cpu, 3 threads")])
def test_a_device_is_named_by_what_it_is(monkeypatch, threads, words):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    named = [devices.device_name(torch.device(name)) for name in ("cpu", "cuda:1", "mps")]
    assert named == [words, "GPU 1", "mps"]
