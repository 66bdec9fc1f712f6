"""Tensors of ONNX files: their bytes, in whichever of seven fields they are kept."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

#: data_type -> name, bits of a number, field of numbers that may hold it instead of raw bytes, how it is held there.
TYPES = {
    1: ("float32", 32, "float_data", "<f4"),
    2: ("uint8", 8, "int32_data", "<u1"),
    3: ("int8", 8, "int32_data", "<i1"),
    4: ("uint16", 16, "int32_data", "<u2"),
    5: ("int16", 16, "int32_data", "<i2"),
    6: ("int32", 32, "int32_data", "<i4"),
    7: ("int64", 64, "int64_data", "<i8"),
    9: ("bool", 8, "int32_data", "<u1"),
    10: ("float16", 16, "int32_data", "<u2"),
    11: ("float64", 64, "double_data", "<f8"),
    12: ("uint32", 32, "uint64_data", "<u4"),
    13: ("uint64", 64, "uint64_data", "<u8"),
    16: ("bfloat16", 16, "int32_data", "<u2"),
    17: ("float8_e4m3fn", 8, "int32_data", "<u1"),
    18: ("float8_e4m3fnuz", 8, "int32_data", "<u1"),
    19: ("float8_e5m2", 8, "int32_data", "<u1"),
    20: ("float8_e5m2fnuz", 8, "int32_data", "<u1"),
    21: ("uint4", 4, "int32_data", "<u1"),
    22: ("int4", 4, "int32_data", "<u1"),
}
CODES = {name: code for code, (name, *_) in TYPES.items()}
#: Dimensions of a stored tensor, and size of one; the product of more, or of larger ones, is slow to calculate.
MAX_DIMS = 64
MAX_SIZE = 1 << 40
_NUMBERS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def raw_bytes(tensor: Any) -> bytes:
    """Little-endian bytes of a TensorProto, the same however they are kept.

    Raises ValueError, with the reason, for a type that is not known, and for more or fewer values than its shape has.
    """
    if tensor.data_type not in TYPES:
        raise ValueError(f"a type of numbers that is not known ({tensor.data_type})")
    name, bits, field, form = TYPES[tensor.data_type]
    if any(size < 0 for size in tensor.dims):
        raise ValueError("a shape with a negative size")
    wanted = (prod(tensor.dims) * bits + 7) // 8
    given = [f for f in _NUMBERS if len(getattr(tensor, f))]
    if len(tensor.string_data) or given not in ([], [field]) or (given and tensor.HasField("raw_data")):
        raise ValueError(f"values of another type than {name}, or in two places")
    if given:
        kept = np.array(getattr(tensor, field))
        numbers = kept.astype(form)
        if kept.dtype.kind in "iu" and not np.array_equal(numbers, kept):
            raise ValueError(f"values that are not {name}")
        raw = numbers.tobytes()
    else:
        raw = tensor.raw_data
    if len(raw) != wanted:
        raise ValueError(f"{len(raw):,} bytes of values where its shape takes {wanted:,}")
    return raw
