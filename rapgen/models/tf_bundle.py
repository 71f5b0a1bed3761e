"""Checkpoints that TensorFlow wrote (its "tensor bundle"), read without TensorFlow and without running what they bring.

`PREFIX.index` is a sorted string table as LevelDB writes it: names and, as protocol buffers, where in
`PREFIX.data-00000-of-00001` each tensor stands. Every position that a file names is checked before it is followed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}  # wire types of protocol buffers; bytes of those of fixed length
_FLOAT = 1  # DT_FLOAT
_DTYPE, _SHAPE, _SHARD, _OFFSET, _SIZE = 1, 2, 3, 4, 5  # fields of a BundleEntryProto
_SIZES_OF_SHAPE, _SIZE_OF_DIM = 2, 1


def read_tf_bundle(prefix: Path) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a checkpoint in one data file, by name; read-only. Others, as of int64, are left out.

    Raises OSError where a file cannot be read, ValueError where it is no such checkpoint.
    """
    index = prefix.with_name(f"{prefix.name}.index").read_bytes()
    data = prefix.with_name(f"{prefix.name}.data-00000-of-00001").read_bytes()
    tensors = {}
    for name, value in _entries(index):
        fields = _fields(value)
        if name and _number(fields, _DTYPE) == _FLOAT:  # no name: the header
            tensors[name.decode()] = _tensor(fields, data)
    return tensors


def _tensor(fields: dict[int, list[int | bytes]], data: bytes) -> NDArray[np.float32]:
    dims = [
        _fields(dim) for dim in _fields(_message(fields, _SHAPE)).get(_SIZES_OF_SHAPE, []) if isinstance(dim, bytes)
    ]
    shape = [_number(dim, _SIZE_OF_DIM) for dim in dims]
    offset, size = _number(fields, _OFFSET), _number(fields, _SIZE)
    if _number(fields, _SHARD) != 0 or size != 4 * prod(shape) or offset + size > len(data):
        raise ValueError("a tensor lies outside of its file")
    return np.frombuffer(data, "<f4", count=size // 4, offset=offset).reshape(shape)


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted string table."""
    if len(table) < _FOOTER or struct.unpack("<Q", table[-8:]) != (_MAGIC,):
        raise ValueError("it is no index of a TensorFlow checkpoint")
    at, handle = len(table) - _FOOTER, []
    for _ in range(4):  # offset and size of the block of metadata, which is empty, then of the block of blocks
        number, at = _varint(table, at)
        handle.append(number)
    for _, place in _block(table, *handle[2:]):
        offset, at = _varint(place, 0)
        size, _ = _varint(place, at)
        yield from _block(table, offset, size)


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; each key is told by how it differs from the one before."""
    block = _slice(table, offset, size)
    if _slice(table, offset + size, 1) != b"\0":
        raise ValueError("it is compressed")
    (restarts,) = struct.unpack("<I", _slice(block, size - 4, 4))
    block = _slice(block, 0, size - 4 - 4 * restarts)
    at, key = 0, b""
    while at < len(block):
        shared, at = _varint(block, at)
        added, at = _varint(block, at)
        length, at = _varint(block, at)
        key = _slice(key, 0, shared) + _slice(block, at, added)
        yield key, _slice(block, at + added, length)
        at += added + length


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """What a protocol buffer holds, by number of field."""
    at = 0
    fields: dict[int, list[int | bytes]] = {}
    while at < len(message):
        tag, at = _varint(message, at)
        length, at = _length(message, at, tag & 7)
        value: int | bytes = _slice(message, at, length)
        at += length
        if tag & 7 == _VARINT:
            value, _ = _varint(message, at - length)
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _length(message: bytes, at: int, kind: int) -> tuple[int, int]:
    """How many bytes a value of a field takes, and where they start."""
    if kind == _BYTES:
        return _varint(message, at)
    if kind == _VARINT:
        return _varint(message, at)[1] - at, at
    if kind in _FIXED:
        return _FIXED[kind], at
    raise ValueError(f"a field is of kind {kind}")


def _number(fields: dict[int, list[int | bytes]], field: int) -> int:
    """A number, 0 where it is not written."""
    value = fields.get(field, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"field {field} is no number")
    return value


def _message(fields: dict[int, list[int | bytes]], field: int) -> bytes:
    value = fields.get(field, [b""])[-1]
    if not isinstance(value, bytes):
        raise ValueError(f"field {field} is no message")
    return value


def _varint(source: bytes, at: int) -> tuple[int, int]:
    """A number of up to 64 bits, seven a byte, and where the next thing stands."""
    number = 0
    for shift in range(0, 70, 7):
        byte = _slice(source, at, 1)[0]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
    raise ValueError("a number does not end")


def _slice(source: bytes, offset: int, size: int) -> bytes:
    if offset < 0 or size < 0 or offset + size > len(source):
        raise ValueError("it ends too soon")
    return source[offset : offset + size]
