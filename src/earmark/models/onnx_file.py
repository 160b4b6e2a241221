"""Reading an ONNX file without the package onnx, before anything in it runs.

Source: `onnx.proto` of ONNX 1.17, and Protocol Buffers' wire format (protobuf.dev/programming-guides/encoding). Only
what Earmark's networks are made of is read. Everything else is refused: external files, functions, graphs inside nodes
(loops and branches), types other than numbers. Only lists may occur twice: readers would merge other repeated fields.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

MAX_BYTES = 256 << 20
MAX_NODES = 5_000
MAX_CONSTANTS = 20_000
MAX_AXES = 8
OPSETS = range(11, 27)  # before version 11, operators mean other things

# TensorProto.DataType → NumPy's type.
TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"), 2: np.dtype("u1"), 3: np.dtype("i1"), 4: np.dtype("<u2"), 5: np.dtype("<i2"),
    6: np.dtype("<i4"), 7: np.dtype("<i8"), 9: np.dtype("?"), 10: np.dtype("<f2"), 11: np.dtype("<f8"),
}  # fmt: skip
FLOATS = frozenset({1, 10, 11})
VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5  # wire types

Field: TypeAlias = "int | memoryview"
Fields: TypeAlias = "dict[int, list[Field]]"


class UnfitModelError(ValueError):
    """A model that may not run. The message continues a sentence after the model's name: "holds a loop"."""


@dataclass(frozen=True)
class Constant:
    """An array in the file.

    Attributes:
        kind: the type of its numbers, a key of `TYPES`.
        shape: the shape, which has been checked against the number of values.
        content: the values' bytes; None if they are stored in another way than ONNX's raw data.
        listed: the values, if there is no content.
    """

    kind: int
    shape: tuple[int, ...]
    content: memoryview | None
    listed: tuple[int, ...] = ()

    def integers(self) -> tuple[int, ...] | None:
        """All values, if they are whole numbers: the sizes and axes that operators take."""
        if self.kind not in (6, 7):
            return None
        if self.content is None:
            return self.listed
        values: npt.NDArray[Any] = np.frombuffer(self.content, TYPES[self.kind])
        return tuple(values.tolist())


@dataclass(frozen=True)
class Node:
    """An operation: the names of its inputs and outputs, and its attributes (numbers, tuples, text, constants)."""

    kind: str
    takes: tuple[str, ...]
    makes: tuple[str, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Declared:
    """What the file says of an input or output.

    Attributes:
        kind: the type of its numbers, a key of `TYPES`; 0 if the file doesn't say.
        shape: the size of each axis, None where it isn't fixed; None if the file doesn't say.
    """

    kind: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Graph:
    """The content of an ONNX file.

    Attributes:
        nodes: the operations, in the order of the file.
        constants: the constants by name.
        inputs: the names of the inputs, without those of constants.
        outputs: the names of the outputs.
        opset: the version of ONNX's operators.
        entries: the metadata; if a name occurs twice, its last entry.
        declared: what the file says of its inputs and outputs. Nothing holds it to that.
    """

    nodes: list[Node]
    constants: dict[str, Constant]
    inputs: list[str]
    outputs: list[str]
    opset: int
    entries: dict[str, str]
    declared: dict[str, Declared]


def read_graph(model: bytes, most: int = MAX_BYTES) -> Graph:
    """Read an ONNX file of at most that many bytes.

    Raises:
        UnfitModelError: it is no ONNX file, is damaged or too large, or holds something that may not run.
    """
    if len(model) > most:
        raise UnfitModelError(f"is larger than {most >> 20} MiB")
    try:
        return _read_model(_fields(memoryview(model)))
    except UnfitModelError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, struct.error) as error:
        raise UnfitModelError("is not an ONNX model, or is damaged") from error


def _read_model(fields: Fields) -> Graph:
    if 7 not in fields:
        raise UnfitModelError("is not an ONNX model")
    if 25 in fields:
        raise UnfitModelError("defines functions of its own")
    opsets = {_text(opset, 1): _number(opset, 2) for opset in map(_fields, _parts(fields, 8))}
    opset = opsets.get("", opsets.get("ai.onnx", 0))
    if opset not in OPSETS:
        raise UnfitModelError(f"needs version {opset} of ONNX's operators, not {OPSETS.start} to {OPSETS.stop - 1}")
    graph = _fields(_one(fields, 7))
    if 15 in graph:
        raise UnfitModelError("holds sparse constants")
    if len(_parts(graph, 1)) > MAX_NODES or len(_parts(graph, 5)) > MAX_CONSTANTS:
        raise UnfitModelError(f"has more than {MAX_NODES:,} operations or {MAX_CONSTANTS:,} constants")
    constants: dict[str, Constant] = {}
    for tensor in map(_fields, _parts(graph, 5)):
        name = _text(tensor, 8)
        if name in constants:
            raise UnfitModelError("has two constants of one name")
        constants[name] = _read_constant(tensor)
    inputs, outputs = ([(_text(info, 1), info) for info in map(_fields, _parts(graph, at))] for at in (11, 12))
    return Graph(
        nodes=[_read_node(_fields(node)) for node in _parts(graph, 1)],
        constants=constants,
        inputs=[name for name, _ in inputs if name not in constants],
        outputs=[name for name, _ in outputs],
        opset=opset,
        entries={_text(entry, 1): _plain_text(entry, 2) for entry in map(_fields, _parts(fields, 14))},
        declared={name: _read_declared(info) for name, info in (*inputs, *outputs)},
    )


def _read_declared(info: Fields) -> Declared:
    """A ValueInfoProto: the type of a tensor, and its shape."""
    if 2 not in info or 1 not in (kind := _fields(_one(info, 2))):
        return Declared(0, None)  # no tensor, or of any type
    tensor = _fields(_one(kind, 1))
    if 2 not in tensor:
        return Declared(_number(tensor, 1), None)
    axes = list(map(_fields, _parts(_fields(_one(tensor, 2)), 1)))
    if len(axes) > MAX_AXES:
        raise UnfitModelError("declares an impossible shape")
    return Declared(_number(tensor, 1), tuple(_number(axis, 1) if 1 in axis else None for axis in axes))


def _read_node(fields: Fields) -> Node:
    domain, kind = _text(fields, 7), _text(fields, 4)
    if domain not in ("", "ai.onnx"):
        raise UnfitModelError(f"has the operation {kind[:40]!a} of {domain[:40]!a}, which isn't ONNX's own")
    options: dict[str, Any] = {}
    for attribute in map(_fields, _parts(fields, 5)):
        name = _text(attribute, 1)
        if name in options:
            raise UnfitModelError("gives an operation two options of one name")
        options[name] = _read_option(attribute)
    takes, makes = (tuple(_decoded(part) for part in _parts(fields, number)) for number in (1, 2))
    return Node(kind, takes, makes, options)


def _read_option(fields: Fields) -> Any:
    """An AttributeProto's value, by the type that it declares."""
    kind = _number(fields, 20)
    if kind == 1:
        return struct.unpack("<f", bytes(_bytes(fields[2][-1])) if 2 in fields else bytes(4))[0]
    if kind == 2:
        return _number(fields, 3)
    if kind == 3:
        return _text(fields, 4)
    if kind == 4:
        return _read_constant(_fields(_one(fields, 5)))
    if kind == 6:
        return tuple(np.frombuffer(b"".join(map(_bytes, fields.get(7, ()))), "<f4").tolist())
    if kind == 7:
        return tuple(_numbers(fields, 8))
    if kind in (5, 10):
        raise UnfitModelError("holds a loop or a branch")
    raise UnfitModelError("holds options of a kind that isn't run")


def _read_constant(fields: Fields) -> Constant:
    """A TensorProto whose values are all there."""
    if 13 in fields or _number(fields, 14) != 0:
        raise UnfitModelError("keeps weights in other files")
    kind, shape = _number(fields, 2), tuple(_numbers(fields, 1))
    if kind not in TYPES or 3 in fields or 6 in fields:
        raise UnfitModelError("holds constants that are no usual numbers")
    if len(shape) > MAX_AXES or any(size < 0 for size in shape):
        raise UnfitModelError("holds a constant of an impossible shape")
    count = 1
    for size in shape:
        count *= size
        if count > MAX_BYTES:
            raise UnfitModelError("claims a constant that is larger than the file")
    content: memoryview | None = None
    listed: tuple[int, ...] = ()
    if 9 in fields:
        content = _bytes(fields[9][-1])
        have = len(content) // TYPES[kind].itemsize if len(content) % TYPES[kind].itemsize == 0 else -1
    elif kind in (1, 11):
        have = sum(len(_bytes(part)) for part in fields.get(4 if kind == 1 else 10, ())) // TYPES[kind].itemsize
    else:
        listed = tuple(_numbers(fields, 7 if kind == 7 else 5))
        have = len(listed)
    if have != count:
        raise UnfitModelError(f"has a constant of {have:,} values where its shape needs {count:,}")
    return Constant(kind, shape, content, listed)


def _fields(message: memoryview) -> Fields:
    """A message's fields by number, each with all its values in order."""
    fields: Fields = {}
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        value: Field
        if wire == VARINT:
            value, at = _varint(message, at)
        else:
            size = {FIXED_64: 8, FIXED_32: 4}.get(wire, 0)
            if wire == BYTES:
                size, at = _varint(message, at)
            elif not size:
                raise ValueError(wire)
            if size > end - at:
                raise ValueError("cut off")
            value, at = message[at : at + size], at + size
        fields.setdefault(number, []).append(value)
    return fields


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of at most 64 bits, 7 in each byte, and the position of the next field."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ValueError("too long a number")


def _bytes(field: Field) -> memoryview:
    if isinstance(field, int):
        raise TypeError(field)
    return field


def _parts(fields: Fields, number: int) -> list[memoryview]:
    return [_bytes(field) for field in fields.get(number, ())]


def _one(fields: Fields, number: int) -> memoryview:
    (part,) = _parts(fields, number)
    return part


def _decoded(part: memoryview) -> str:
    """A name on one line; names that aren't UTF-8 stay distinct."""
    return bytes(part).decode(errors="surrogateescape")


def _text(fields: Fields, number: int) -> str:
    return _decoded(_bytes(fields[number][-1])) if number in fields else ""


def _plain_text(fields: Fields, number: int) -> str:
    if number not in fields:
        return ""
    try:
        return bytes(_bytes(fields[number][-1])).decode()
    except UnicodeDecodeError as error:
        raise UnfitModelError("has names that are no text") from error


def _number(fields: Fields, number: int) -> int:
    """A field's last value, as a signed 64-bit number; 0 if it is missing."""
    value = fields[number][-1] if number in fields else 0
    if not isinstance(value, int):
        raise TypeError(number)
    return _signed(value)


def _numbers(fields: Fields, number: int) -> Iterator[int]:
    """A list of numbers, each in a field of its own or all packed into one."""
    for field in fields.get(number, ()):
        if isinstance(field, int):
            yield _signed(field)
            continue
        at = 0
        while at < len(field):
            value, at = _varint(field, at)
            yield _signed(value)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
