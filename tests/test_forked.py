"""What others are forked from serves on, whoever of them is killed in the middle of asking."""

from __future__ import annotations

import socket
import struct

import pytest

from tests import forked

pytestmark = pytest.mark.skipif(not forked.CAN_FORK, reason="nothing is forked here")


@pytest.mark.parametrize("said", [b"", b"123", struct.pack("q", 999) + b"half of it"])
def test_who_is_gone_before_all_is_said_holds_up_nobody(said: bytes) -> None:
    forked._connected("core").close()
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(forked._address("core"))
        line.sendall(said)
    process = forked.Forked("core", "operator:add", 3, 4)
    assert process.wait(60) == 7
    process.close()
