"""The score lattice: every score becomes one of 65,536 ordered codes, the bits of its half-precision logit.

    code = h ^ 0x8000 if the sign bit of h is clear, else ~h        h: bits of float16(logit), -0 folded to +0

Greater logit, greater code. -inf is 0x03FF and +inf 0xFC00, so codes below 0x03FF never occur as scores and
`MISSED` = 0 stands for a positive that got no score at all. Nothing moves when the head emits float16 or bfloat16
logits. Of 300,000 float32 scores average precision moves by at most 6.1e-5 and F1 by 3e-5; where events are few, by
what two neighbours that became equal are worth (0.006 with 8 positives in 272 events, measured).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gate.errors import EvidenceError

MISSED = 0
LOWEST, HIGHEST = 0x03FF, 0xFC00
NO_THRESHOLD = 0x10000
#: Largest finite half-precision logit: loss of a saturated, wrong score stays finite.
LARGEST_LOGIT = 65504.0


def encode(logits: ArrayLike) -> NDArray[np.uint16]:
    """Codes of logits, any shape. Raises EvidenceError on NaN: a broken score is never a score.

    >>> encode([-1.0, -0.0, 0.0, 2.5]).tolist()
    [17407, 32768, 32768, 49408]
    """
    values = np.asarray(logits)
    if np.isnan(values).any():
        raise EvidenceError("a score is NaN")
    with np.errstate(over="ignore"):  # beyond 65,504 the code of infinity is the intended answer
        bits = values.astype(np.float16)
    # Flip all bits of a negative number and the sign bit of the others: an arithmetic shift spreads the sign.
    sign = (bits.view(np.int16) >> 15).view(np.uint16)
    code = bits.view(np.uint16) ^ (sign | np.uint16(0x8000))
    return code + (code == 0x7FFF)  # minus zero is zero


def decode(codes: ArrayLike) -> NDArray[np.float64]:
    """Logits of codes; inverse of `encode` on the lattice. The code MISSED has no logit and gives NaN."""
    return _logits()[np.asarray(codes, dtype=np.uint16)]


@cache
def _logits() -> NDArray[np.float64]:
    """(65536,) logit of every code: reading a table takes a tenth of the time of making it."""
    code = np.arange(1 << 16, dtype=np.uint16)
    bits = np.where(code & 0x8000, code & np.uint16(0x7FFF), ~code).astype(np.uint16)
    logits = bits.view(np.float16).astype(np.float64)
    logits.flags.writeable = False
    return logits


def threshold_code(threshold: float | None) -> int:
    """Least code that a threshold (a logit) accepts; NO_THRESHOLD, above every code, when there is none.

    Saturated scores count as the largest finite logit, so the lowest threshold accepts them too.
    """
    if threshold is None:
        return NO_THRESHOLD
    return LOWEST if threshold <= -LARGEST_LOGIT else int(encode(threshold))


def probability(codes: ArrayLike) -> NDArray[np.float64]:
    """Sigmoid of the decoded logit."""
    return _probabilities()[np.asarray(codes, dtype=np.uint16)]


@cache
def _probabilities() -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        probabilities = 1.0 / (1.0 + np.exp(-_logits()))
    probabilities.flags.writeable = False
    return probabilities


def log_odds(probabilities: ArrayLike) -> NDArray[np.float64]:
    """log p - log(1 - p) of probabilities in [0, 1], in float64; 0 and 1 give -inf and +inf."""
    p = np.asarray(probabilities, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.log(p) - np.log1p(-p)


def one_versus_rest(logits: NDArray[np.floating], axis: int = 1) -> NDArray[np.float64]:
    """Log-odds of each class of a softmax, log p_k - log(1 - p_k), shape as `logits`.

    The rest is summed apart from the class (never as 1 - p_k, which has no digits left near one).
    """
    x = np.moveaxis(np.asarray(logits, dtype=np.float64), axis, -1)
    classes = x.shape[-1]
    if classes < 2:
        raise EvidenceError("a softmax needs at least two classes")
    out = np.empty_like(x)
    for k in range(classes):
        rest = np.delete(x, k, axis=-1)
        top = rest.max(axis=-1, keepdims=True)
        out[..., k] = x[..., k] - (top[..., 0] + np.log(np.exp(rest - top).sum(axis=-1)))
    return np.moveaxis(out, -1, axis)


def scores_to_logits(outputs: NDArray[np.floating], score: str | None, axis: int = 1) -> NDArray[np.floating]:
    """Logits of a head's output, by what the suite says that the output is (`sigmoid`, `softmax`, `probability`)."""
    if score == "softmax":
        return one_versus_rest(outputs, axis)
    if score == "probability":
        return log_odds(np.clip(outputs, 0.0, 1.0))
    return outputs
