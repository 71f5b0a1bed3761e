"""TensorFlow's checkpoints are read, and damaged ones are told apart."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rapgen.models.tf_bundle import read_tf_bundle

FLOAT, INT64 = 1, 9
MAGIC = 0xDB4775248B80FB57


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Keys share what they begin with, as in a table of LevelDB."""
    body, last = b"", b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        body += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return body + struct.pack("<II", 0, 1)


def write_bundle(folder: Path, tensors: dict[str, np.ndarray]) -> Path:
    """A checkpoint as TensorFlow would write it, in one data file."""
    data, entries = b"", [(b"", field(1, 1))]
    for name, tensor in sorted(tensors.items()):
        shape = b"".join(field(2, field(1, size)) for size in tensor.shape)
        kind = FLOAT if tensor.dtype == np.float32 else INT64
        told = field(1, kind) + field(2, shape) + field(4, len(data)) + field(5, tensor.nbytes)
        entries.append((name.encode(), told + varint(6 << 3 | 5) + bytes(4)))  # and a checksum, of fixed length
        data += tensor.tobytes()
    first = block(entries)
    second = block([(b"\xff", varint(0) + varint(len(first)))])
    at = len(first) + 5  # each block has its kind of compression and a checksum after it
    handles = varint(0) + varint(0) + varint(at) + varint(len(second))
    table = first + bytes(5) + second + bytes(5) + handles.ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    (folder / "model.index").write_bytes(table)
    (folder / "model.data-00000-of-00001").write_bytes(data)
    return folder / "model"


@given(
    tensors=st.dictionaries(
        st.text("abc/_", min_size=1, max_size=6),
        arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=4, max_side=4)),
        max_size=5,
    )
)
@settings(max_examples=30)
def test_tensors_come_back(tensors: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    read = read_tf_bundle(write_bundle(folder, tensors))
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor)


def test_what_is_no_float32_is_left_out(tmp_path: Path) -> None:
    tensors = {"global_step": np.array(7), "w": np.ones(3, np.float32)}
    assert read_tf_bundle(write_bundle(tmp_path, tensors)).keys() == {"w"}


@given(place=st.integers(0, 200), value=st.integers(0, 255))
def test_a_damaged_index_is_a_value_error_at_worst(
    place: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    prefix = write_bundle(folder, {"a/b": np.ones((2, 3), np.float32), "a/c": np.zeros(5, np.float32)})
    table = bytearray((folder / "model.index").read_bytes())
    table[place % len(table)] = value
    (folder / "model.index").write_bytes(table)
    try:
        read = read_tf_bundle(prefix)
    except ValueError:
        return
    assert sum(tensor.nbytes for tensor in read.values()) <= 100


@pytest.mark.parametrize("kept", [0, 10, 47, 60])
def test_a_truncated_index_is_told(kept: int, tmp_path: Path) -> None:
    prefix = write_bundle(tmp_path, {"w": np.ones(3, np.float32)})
    index = tmp_path / "model.index"
    index.write_bytes(index.read_bytes()[:kept])
    with pytest.raises(ValueError, match="no index of a TensorFlow checkpoint"):
        read_tf_bundle(prefix)


def test_truncated_data_is_told(tmp_path: Path) -> None:
    prefix = write_bundle(tmp_path, {"w": np.ones(3, np.float32)})
    (tmp_path / "model.data-00000-of-00001").write_bytes(b"1234")
    with pytest.raises(ValueError, match="outside of its file"):
        read_tf_bundle(prefix)
