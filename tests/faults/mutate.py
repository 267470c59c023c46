"""Damages files: bytes of any file, and the fields of the formats (with hypothesis)."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import re
import sqlite3
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

Mutate = Callable[[bytes, random.Random], bytes]

_NUMBERS = (0, -1, 1, 2, 7, 127, 255, 32767, 65535, 2**31 - 1, -(2**31), 2**32, 2**63, 10**30)
_WORDS = (
    "",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "x",
    "\0",
    "None",
    "../../x",
    "/etc/passwd",
    "é☃",
    "%d",
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(_NUMBERS + _WORDS)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
_DELETE = object()
_NIFTI_FIELDS = {  # offset: format, of the header of NIfTI-1 (nifti1.h)
    0: "i", 68: "h", 70: "h", 72: "h", 108: "f", 112: "f", 116: "f", 123: "B", 252: "h", 254: "h",
    344: "i", 348: "i", 352: "i", 356: "i",
    **{40 + 2 * i: "h" for i in range(8)},
    **{76 + 4 * i: "f" for i in range(8)},
    **{256 + 4 * i: "f" for i in range(18)},
}  # fmt: skip
_DICOM_TAGS = (  # rows, columns, frames, bits, samples, spacing, position, cosines, pixels, …
    (0x28, 0x10), (0x28, 0x11), (0x28, 0x08), (0x28, 0x100), (0x28, 0x101), (0x28, 0x102),
    (0x28, 0x02), (0x28, 0x04), (0x28, 0x103), (0x28, 0x30), (0x28, 0x1052), (0x28, 0x1053),
    (0x20, 0x32), (0x20, 0x37), (0x20, 0x0E), (0x18, 0x50), (0x08, 0x60), (0x08, 0x16),
    (0x02, 0x10), (0x02, 0x00), (0x7FE0, 0x10), (0x3006, 0x50), (0x3006, 0x39),
    (0x28, 0x120), (0x28, 0x121), (0x62, 0x01), (0x62, 0x04), (0x62, 0x0B), (0x20, 0x9157),
    (0x18, 0x88), (0x3006, 0x84), (0x3006, 0x22), (0x3006, 0x42),
)  # fmt: skip


def drawn(strategy: st.SearchStrategy, count: int, number: int) -> list[Any]:
    """Up to so many examples of a strategy, the same for the same number."""
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


class Mutator:
    """Damages one file after another.

    Parameters
    ----------
    number : int
        Same number, same damage.
    pool : int
        Values drawn for the fields beforehand.
    """

    def __init__(self, number: int, pool: int = 200) -> None:
        self.chance = random.Random(number)
        self._values = drawn(_VALUES, pool, number)
        self._texts = drawn(st.text(max_size=30), pool // 2, number)
        self._floats = drawn(st.floats(width=32), pool // 2, number)

    def mutate(self, path: Path) -> None:
        """Damage a file where it lies: half of the time its bytes, else its fields."""
        if self.chance.random() < 0.5 and self._mutate_fields(path):
            return
        change: Mutate = self.chance.choice(_BYTES)
        path.write_bytes(change(path.read_bytes(), self.chance))

    def _mutate_fields(self, path: Path) -> bool:
        """Damage a field; False where there is none, as in a file that is damaged already."""
        fields = self._fields_of(path.name)
        try:
            if path.suffix == ".sqlite":
                self._journal(path)
            elif fields is None:
                return False
            else:
                path.write_bytes(fields(path.read_bytes()))
        except (ValueError, TypeError, LookupError, AttributeError, EOFError, OSError, zlib.error):
            return False
        except (struct.error, sqlite3.Error, csv.Error, OverflowError):
            return False
        return True

    def _journal(self, path: Path) -> None:
        """A cell of a stroke becomes another one, or a stroke comes out of order."""
        columns = ("id", "time", "author", "source", "target", "voxels", "old", "new")
        cells = [
            *(v for v in self._values if v is None or isinstance(v, int | float | str)),
            *("undo", "redo", "hand", b"", b"x", zlib.compress(b""), zlib.compress(bytes(8))),
            zlib.compress(struct.pack("<3q", -1, 2**62, 431)),
            zlib.compress(bytes(1 << 24)),
        ]
        with closing(sqlite3.connect(path)) as db, db:
            row = self.chance.choice(db.execute("SELECT id FROM strokes").fetchall())[0]
            column = self.chance.choice(columns)
            cell = self.chance.choice(cells)
            db.execute(f"UPDATE strokes SET {column} = ? WHERE id = ?", (cell, row))

    def _fields_of(self, name: str) -> Callable[[bytes], bytes] | None:
        endings: dict[str, Callable[[bytes], bytes]] = {
            ".nii.gz": lambda data: gzip.compress(self._inner(gzip.decompress(data)), 1),
            ".nii": self._nifti,
            ".nrrd": self._header,
            ".mha": self._header,
            ".mhd": self._header,
            ".nhdr": self._header,
            ".npy": self._npy,
            ".dcm": self._dicom,
            ".jsonl": self._lines,
            ".json": self._json,
            ".csv": self._csv,
            ".safetensors": self._safetensors,
        }
        return next((endings[end] for end in endings if name.endswith(end)), None)

    def _inner(self, data: bytes) -> bytes:
        """What is packed: its header, or its bytes."""
        if self.chance.random() < 0.7:
            return self._nifti(data)
        return self.chance.choice(_BYTES)(data, self.chance)

    def _nifti(self, data: bytes) -> bytes:
        header = bytearray(data.ljust(400, b"\0"))
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            offset, form = self.chance.choice(list(_NIFTI_FIELDS.items()))
            header[offset : offset + struct.calcsize(form)] = self._packed(form)
        return bytes(header)

    def _packed(self, form: str) -> bytes:
        if form == "f":
            return struct.pack("<f", self.chance.choice([*self._floats, 0.0, -1.0, 1e-30, 3e38]))
        size = struct.calcsize(form)
        return (self.chance.choice(_NUMBERS) % (1 << 8 * size)).to_bytes(size, "little")

    def _header(self, data: bytes) -> bytes:
        """A number or a word of a text header becomes another one."""
        end = data.find(b"\n\n")
        end = len(data.split(b"ElementDataFile")[0]) + 40 if end < 0 else end
        head = data[:end].decode("latin-1")
        places = list(re.finditer(r"[^\s,()=:]+", head))
        if not places:
            return data
        place = self.chance.choice(places)
        new = str(self.chance.choice([*_NUMBERS, *_WORDS, *self._floats, *self._texts]))
        head = head[: place.start()] + new + head[place.end() :]
        return head.encode("latin-1", "replace") + data[end:]

    def _npy(self, data: bytes) -> bytes:
        head = data[10:128].decode("latin-1")
        place = self.chance.choice(list(re.finditer(r"[\w<|>.]+", head)))
        new = str(self.chance.choice([*_NUMBERS, *_WORDS, "|O", "<f8", "[('a','O')]"]))
        head = (head[: place.start()] + new + head[place.end() :]).rstrip().ljust(117) + "\n"
        body = head.encode("latin-1", "replace")
        return data[:8] + struct.pack("<H", len(body)) + body + data[128:]

    def _dicom(self, data: bytes) -> bytes:
        """The length, the type or the value of an element becomes another one."""
        tags = [t for t in _DICOM_TAGS if struct.pack("<HH", *t) in data[132:]]
        if not tags:
            return data
        at = data.index(struct.pack("<HH", *self.chance.choice(tags)), 132)
        changed = bytearray(data)
        what = self.chance.random()
        if what < 0.3:
            changed[at + 6 : at + 8] = self._packed("H")
        elif what < 0.4:
            changed[at + 4 : at + 6] = self.chance.choice(
                (b"SQ", b"UN", b"OW", b"US", b"DS", b"??")
            )
        else:
            size = int.from_bytes(data[at + 6 : at + 8], "little")
            text = str(self.chance.choice([*_NUMBERS, *_WORDS, *self._texts])).encode()
            new = self._packed("H") if size == 2 else text[:size].ljust(size)
            changed[at + 8 : at + 8 + len(new)] = new
        return bytes(changed)

    def _lines(self, data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        at = self.chance.randrange(len(lines))
        return b"".join([*lines[:at], self._json(lines[at]) + b"\n", *lines[at + 1 :]])

    def _json(self, data: bytes) -> bytes:
        document = json.loads(data)
        where, key = self.chance.choice(list(_places({"": document})))
        value = self.chance.choice([_DELETE, *self._values])
        if value is _DELETE:
            del where[key]
        else:
            where[key] = value
        return json.dumps(document).encode()

    def _csv(self, data: bytes) -> bytes:
        rows = list(csv.reader(io.StringIO(data.decode())))
        line = self.chance.choice(rows)
        line[self.chance.randrange(len(line))] = self.chance.choice(
            [*_WORDS, *self._texts, "1", "."]
        )
        out = io.StringIO()
        csv.writer(out).writerows(rows)
        return out.getvalue().encode("utf-8", "surrogatepass")

    def _safetensors(self, data: bytes) -> bytes:
        """The header's JSON, or that of the card in it."""
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        if self.chance.random() < 0.6:
            meta = header["__metadata__"]
            meta["card"] = self._json(meta["card"].encode()).decode()
            changed = json.dumps(header).encode()
        else:
            changed = self._json(json.dumps(header).encode())
        return struct.pack("<Q", len(changed)) + changed + data[8 + size :]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with every key of it."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [p for key in keys for p in _places(value[key])]


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    reach = len(changed) if chance.random() < 0.5 else min(len(changed), 600)  # headers come first
    for _ in range(chance.choice((1, 2, 8, 40))):
        if reach:
            changed[chance.randrange(reach)] = chance.randrange(256)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randint(0, max(0, len(data) - 1))]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.randbytes(chance.choice((1, 4, 100, 5000))) + data[at:]


def _double(data: bytes, chance: random.Random) -> bytes:
    start = chance.randint(0, len(data))
    end = chance.randint(start, min(len(data), start + 4096))
    return data[:end] + data[start:end] * chance.choice((1, 3)) + data[end:]


def _blank(data: bytes, chance: random.Random) -> bytes:
    start = chance.randint(0, len(data))
    end = chance.randint(start, min(len(data), start + 4096))
    return data[:start] + chance.choice((b"\0", b"\xff", b" ")) * (end - start) + data[end:]


_BYTES: tuple[Mutate, ...] = (_flip, _flip, _cut, _insert, _double, _blank)
