"""Cases for the fuzzer from cases that are there: changed byte by byte, or in what they are made of.

Bytes changed at random seldom get past a checksum or a JSON's first brace. So what is made of parts is taken apart, one
part is changed, and it is put together again: zips, JSON, protocol buffers (ONNX), and sequences of messages.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from random import Random
from typing import Any, TypeAlias

Mutate: TypeAlias = Callable[[bytes, Random], bytes]
Message: TypeAlias = "str | bytes"

HEADER = struct.Struct("<BH")  # of a message in a case: 0 for text or 1 for bytes, and how many bytes follow
EDGES = (0, 1, 2, 7, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
ODD_TEXTS = (
    "", "a", " ", "\0", "\n", "\x1b[2J", "\ud800", "é", "e\u0301", "\u202e", "🙂", "x" * 300, ".", "..", "../x",
    "/x", "a/../../x", "C:\\x", "\\\\host\\x", "con", "%2e%2e", "%00", "_unknown_", "__proto__", "http://x/",
    "file:///etc/passwd", "~", "$HOME",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 255, 65_536, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.5, 1e-320, 1e308,
    float("nan"), float("inf"), float("-inf"), [], {}, [[]], [None], {"": None}, *ODD_TEXTS,
)  # fmt: skip
DEPTH = 3_000  # of nested lists: more than any reader's stack may take
MOST_NODES = 3_000  # of a JSON that are looked at


def mutate_bytes(data: bytes, random: Random) -> bytes:
    """Change some bytes, numbers or runs of bytes."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(changed) + 1)
        _BYTE_CHANGES[random.randrange(len(_BYTE_CHANGES))](changed, at, random)
    return bytes(changed)


def _flip(data: bytearray, at: int, random: Random) -> None:
    if at < len(data):
        data[at] ^= 1 << random.randrange(8)


def _set(data: bytearray, at: int, random: Random) -> None:
    data[at : at + 1] = bytes([random.randrange(256)])


def _number(data: bytearray, at: int, random: Random) -> None:
    size, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
    edge = random.choice(EDGES) + random.choice((-1, 0, 0, 1))
    data[at : at + size] = (edge % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]


def _remove(data: bytearray, at: int, random: Random) -> None:
    del data[at : at + random.choice((1, 2, 8, 64, 1024))]


def _insert(data: bytearray, at: int, random: Random) -> None:
    data[at:at] = random.choice((random.randbytes(random.choice((1, 2, 4, 16))), bytes(8), b"\xff" * 8))


def _repeat(data: bytearray, at: int, random: Random) -> None:
    data[at:at] = data[at : at + random.choice((1, 4, 32, 256))] * random.choice((1, 2, 8))


def _move(data: bytearray, at: int, random: Random) -> None:
    size, to = random.choice((4, 16, 128)), random.randrange(len(data) + 1)
    data[to : to + size] = data[at : at + size]


def _cut(data: bytearray, at: int, _: Random) -> None:
    del data[at:]


def _text(data: bytearray, at: int, random: Random) -> None:
    data[at:at] = random.choice(ODD_TEXTS).encode(errors="surrogatepass")


def _digits(data: bytearray, at: int, random: Random) -> None:
    data[at:at] = str(random.choice(EDGES)).encode()


_BYTE_CHANGES = (_flip, _flip, _set, _number, _number, _remove, _insert, _repeat, _move, _cut, _text, _digits)


def mutate_json(data: bytes, random: Random) -> bytes:
    """Change one value of a JSON, or its text."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, random)
    if random.random() < 0.15:
        return mutate_bytes(data, random)
    box = [values]
    nodes: list[tuple[Any, Any]] = [(box, 0)]
    for parent, key in nodes:  # grows meanwhile
        if len(nodes) > MOST_NODES:
            break
        value = parent[key]
        keys: Sequence[Any] = (
            list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        )
        nodes += [(value, key) for key in keys]
    _change_node(*random.choice(nodes), nodes, random)
    text = json.dumps(box[0], ensure_ascii=random.random() < 0.8)
    if random.random() < 0.005:
        text = text.replace("null", "[" * DEPTH, 1)
    return text.encode(errors="surrogatepass")


def _change_node(parent: Any, key: Any, nodes: list[tuple[Any, Any]], random: Random) -> None:
    value, kind = parent[key], random.randrange(8)
    if kind == 0 and parent is not nodes[0][0]:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[random.choice(ODD_TEXTS)] = parent.pop(key)
    elif kind == 2 and isinstance(parent, list) and parent is not nodes[0][0]:
        parent.insert(key, value)
    elif kind == 3:
        other, place = random.choice(nodes)
        parent[key] = json.loads(json.dumps(other[place]))
    elif kind == 4 and isinstance(value, (int, float)) and not isinstance(value, bool):
        parent[key] = random.choice((value + 1, value - 1, -value, value * 2, float(value), str(value)))
    elif kind == 5 and isinstance(value, str):
        parent[key] = mutate_bytes(value.encode(errors="replace"), random).decode(errors="replace")
    else:
        parent[key] = random.choice(ODD_VALUES)


def mutate_zip(data: bytes, random: Random) -> bytes:
    """Change a file in a zip, its name, or the zip's own bytes."""
    if random.random() < 0.25:
        return mutate_bytes(data, random)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [
                (info.filename, archive.read(info)) for info in archive.infolist()[:50] if info.file_size < 1 << 20
            ]
    except Exception:  # it is damaged by an earlier change
        return mutate_bytes(data, random)
    if not entries:
        return mutate_bytes(data, random)
    at, kind = random.randrange(len(entries)), random.randrange(10)
    name, content = entries[at]
    if kind == 0:
        del entries[at]
    elif kind == 1:
        entries.insert(at, random.choice(entries))
    elif kind in (2, 3):
        entries[at] = (_renamed(name, random), content)
    else:
        entries[at] = (name, mutation_of(name)(content, random))
    return pack(
        entries, random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2))
    )


def mutation_of(name: str) -> Mutate:
    """How a file of that name is changed."""
    suffix = PurePosixPath(name).suffix.lower()
    return {".json": mutate_json, ".zip": mutate_zip, ".onnx": mutate_onnx}.get(suffix, mutate_bytes)


def pack(entries: Sequence[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of those files, which may have the same name."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as archive:
        warnings.simplefilter("ignore")
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name.encode(errors="replace").decode()), content, compression)
    return file.getvalue()


def _renamed(name: str, random: Random) -> str:
    folder, _, file = name.rpartition("/")
    odd = random.choice(ODD_TEXTS)
    choices = (
        f"{odd}/{name}",
        f"{folder}/{odd}",
        f"{odd}/{file}",
        odd + name,
        name + odd,
        f"../../{file}",
        f"/{name}",
        name.upper(),
        file,
    )
    return random.choice(choices)


def mutate_examples(data: bytes, random: Random) -> bytes:
    """Change the list of a set of examples (TFJSSCDS), or any of its bytes."""
    length = int.from_bytes(data[12:16], "little")
    if random.random() < 0.5 or len(data) < 16 + length:
        return mutate_bytes(data, random)
    text = mutate_json(data[16 : 16 + length], random)
    return data[:12] + len(text).to_bytes(4, "little") + text + data[16 + length :]


def mutate_messages(data: bytes, random: Random) -> bytes:
    """Change a sequence of messages: one of them, or their order."""
    messages = split(data)
    if not messages:
        return join(["{}"])
    at, kind = random.randrange(len(messages)), random.randrange(10)
    if kind == 0:
        del messages[at]
    elif kind == 1:
        messages.insert(random.randrange(len(messages) + 1), messages[at])
    elif kind == 2:
        other = random.randrange(len(messages))
        messages[at], messages[other] = messages[other], messages[at]
    elif kind == 3:
        message = messages[at]
        messages[at] = message.encode() if isinstance(message, str) else message.decode(errors="replace")
    else:
        messages[at] = _mutate_message(messages[at], random)
    return join(messages)


def _mutate_message(message: Message, random: Random) -> Message:
    if isinstance(message, bytes):
        return mutate_bytes(message, random)
    change = mutate_json if message.startswith(("{", "[")) else mutate_bytes
    return change(message.encode(), random).decode(errors="replace")


def split(data: bytes) -> list[Message]:
    """The messages of a case; any bytes are some."""
    messages: list[Message] = []
    at = 0
    while at + HEADER.size <= len(data):
        kind, size = HEADER.unpack_from(data, at)
        at += HEADER.size
        content = data[at : at + size]
        messages.append(content if kind % 2 else content.decode(errors="replace"))
        at += size
    return messages


def join(messages: Sequence[Message]) -> bytes:
    """The case of those messages, each cut to what its length can tell."""
    parts = []
    for message in messages:
        content = (message.encode(errors="replace") if isinstance(message, str) else message)[: (1 << 16) - 1]
        parts.append(HEADER.pack(isinstance(message, bytes), len(content)) + content)
    return b"".join(parts)


def mutate_onnx(data: bytes, random: Random) -> bytes:
    """Change one field of an ONNX model, or its bytes."""
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # protobuf's own, which come from another package
        return mutate_bytes(data, random)
    if random.random() < 0.15:
        return mutate_bytes(data, random)
    fields: list[tuple[Any, Any]] = []
    _collect_fields(model, fields)
    try:
        if fields:
            _change_field(*random.choice(fields), fields, random)
        return bytes(model.SerializeToString())
    except Exception:  # the field can't hold it
        return mutate_bytes(data, random)


def _collect_fields(message: Any, fields: list[tuple[Any, Any]]) -> None:
    for field, value in message.ListFields():
        fields.append((message, field))
        if field.type == field.TYPE_MESSAGE:
            for inner in value if _is_repeated(value) else [value]:
                if len(fields) < MOST_NODES:
                    _collect_fields(inner, fields)


def _is_repeated(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, (str, bytes))


def _change_field(message: Any, field: Any, fields: list[tuple[Any, Any]], random: Random) -> None:
    value = getattr(message, field.name)
    if _is_repeated(value):
        at, kind = random.randrange(len(value)), random.randrange(4)
        if kind == 0:
            del value[at]
        elif field.type == field.TYPE_MESSAGE:
            twin = type(value[at]).FromString(value[at].SerializeToString())
            value.insert(random.randrange(len(value) + 1), twin)
        else:
            value[at] = _odd_scalar(field, value[at], fields, random)
    elif field.type == field.TYPE_MESSAGE or random.random() < 0.1:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _odd_scalar(field, value, fields, random))


def _odd_scalar(field: Any, value: Any, fields: list[tuple[Any, Any]], random: Random) -> Any:
    if isinstance(value, bytes):
        return mutate_bytes(value, random)
    if isinstance(value, str):
        others = [getattr(owner, other.name) for owner, other in fields if other.type == other.TYPE_STRING]
        named = [one for one in others if isinstance(one, str)]
        texts = mutate_json(value.encode(), random) if value.startswith("{") else mutate_bytes(value.encode(), random)
        return random.choice(
            (texts.decode(errors="replace"), random.choice(named or [value]), random.choice(_OPERATORS))
        )
    if isinstance(value, float):
        return random.choice((0.0, -1.0, 1e30, float("nan"), float("inf")))
    number = random.choice((value + 1, value - 1, -value, *EDGES))
    return number if field.type != field.TYPE_INT32 and field.type != field.TYPE_ENUM else number % (1 << 31)


_OPERATORS = (
    "Identity", "Add", "Mul", "MatMul", "Gemm", "Softmax", "Reshape", "Expand", "Tile", "ConstantOfShape", "Range",
    "Pad", "Conv", "Loop", "If", "Scan", "Cast", "Concat", "Resize", "OneHot", "Einsum", "NonZero", "Shape", "Size",
    "RandomNormal",
)  # fmt: skip
