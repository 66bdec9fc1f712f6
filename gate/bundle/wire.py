"""Protocol buffers read strictly, before a parser makes objects of them: known fields, a single reading, bounded work.

A parser skips what it does not know, lets the last of two values win, and turns two bytes into an object of a hundred.
Two parsers, or two versions of a schema, then see two programs in one file. Here that is an error.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from functools import cache
from typing import Any

#: Fields in all; a network of 571 operators has 33,000.
MAX_FIELDS = 1_000_000
#: Messages within messages: a branch within a branch takes three.
MAX_DEPTH = 40
#: Bytes of packed integers, each of which becomes eight.
MAX_PACKED = 32 << 20
_VARINT, _FIXED64, _SIZED, _FIXED32 = 0, 1, 2, 5
# Types of google.protobuf.FieldDescriptor, by how they are written.
_DOUBLE, _FLOAT, _STRING, _MESSAGE, _BYTES, _ENUM = 1, 2, 9, 11, 12, 14
_WIRE = {_DOUBLE: _FIXED64, _FLOAT: _FIXED32, _STRING: _SIZED, _MESSAGE: _SIZED, _BYTES: _SIZED}
_BITS = {_FIXED64: 8, _FIXED32: 4}


def check_wire(data: bytes, message: Any) -> None:
    """Raises ValueError, with the reason, unless `data` is one message of this type that can be read in one way only.

    message: its google.protobuf descriptor. Takes time with the number of fields, which is limited, not of bytes.
    """
    fields = packed = 0
    pending = [(message, 0, len(data), 0)]
    while pending:
        message, at, end, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"messages are nested more than {MAX_DEPTH} deep")
        known, seen = _fields(message), set[str]()
        while at < end:
            fields += 1
            if fields > MAX_FIELDS:
                raise ValueError(f"more than {MAX_FIELDS:,} fields")
            tag, at = _varint(data, at, end)
            if tag >> 3 not in known:
                raise ValueError(f"{message.name} has an unknown field {tag >> 3}")
            name, kind, single, child, values = known[tag >> 3]
            if single:
                if single in seen:
                    raise ValueError(f"{message.name} has its field {name} twice")
                seen.add(single)
            wire, expected = tag & 7, _WIRE.get(kind, _VARINT)
            if wire == _VARINT == expected:
                value, at = _varint(data, at, end)
                if kind == _ENUM and value not in values:
                    raise ValueError(f"{message.name}.{name} is {value}, which is not known")
            elif wire == expected != _SIZED:
                at += _BITS[wire]
            elif wire == _SIZED and (expected == _SIZED or not single):
                size, start = _varint(data, at, end)
                at = start + size
                if at > end:
                    raise ValueError("it ends in the middle of a field")
                if kind == _MESSAGE:
                    pending.append((child, start, at, depth + 1))
                elif kind == _STRING:
                    data[start:at].decode()
                elif expected == _VARINT:
                    packed += size
                elif kind != _BYTES and size % _BITS[expected]:
                    raise ValueError(f"{message.name}.{name} has a part of a number")
                if packed > MAX_PACKED:
                    raise ValueError("too many packed integers; keep tensors as raw data")
            else:
                raise ValueError(f"{message.name}.{name} is written as another type")
        if at != end:
            raise ValueError("it ends in the middle of a field")


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first; and the place after it."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("it ends in the middle of a number")


@cache
def _fields(message: Any) -> dict[int, tuple[str, int, str, Any, frozenset[int]]]:
    """number -> name, type, what may stand once only (itself, or the choice that it is one of), message, values."""
    found = {}
    for field in message.fields:
        # Protocol buffers before 6.30 tell by a label, which later ones no longer have.
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        choice = field.containing_oneof
        single = "" if repeated else choice.name if choice is not None else field.name
        values = frozenset(field.enum_type.values_by_number) if field.enum_type is not None else frozenset()
        found[field.number] = (field.name, field.type, single, field.message_type, values)
    return found
