"""From evidence to named sums: counts at an operating point, losses of scores, moments, by cell and by clip."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gate.lattice import LARGEST_LOGIT, MISSED, decode, probability
from gate.table import Entries, EvidenceTable, Floats, Ints, blocks, entries_of, sums_at


def scored_sums(entries: Entries, cells: int, thresholds: Ints, read: Collection[str]) -> dict[str, Floats]:
    """Sums of scored events in `read`, name -> (S, C): counts at each series' threshold code, losses, their squares.

    Brier: (p - y)². Log-loss in nats, of the logit, so that it has all its digits; logits beyond half precision
    count as its largest, 65,504. Missed positives have no score: they are `fn`, events, and without loss.
    """
    place = entries.series * cells + entries.cell
    count, positive = entries.count.astype(np.float64), entries.positive
    accepted = (entries.code >= thresholds[entries.series]) & (entries.code != MISSED)
    weights: dict[str, Callable[[], Floats]] = {
        "tp": lambda: count * (positive & accepted),
        "fp": lambda: count * (~positive & accepted),
        "fn": lambda: count * (positive & ~accepted),
        "tn": lambda: count * (~positive & ~accepted),
        "events": lambda: count,
    }
    if any(name.startswith("sum_") for name in read):
        scored = np.where(entries.code == MISSED, 0.0, count)
        code = np.where(entries.code == MISSED, _LOGIT_ZERO, entries.code)
        brier = (probability(code) - positive) ** 2
        loss = _log_losses()[positive.astype(np.int64), code]
        weights |= {
            "sum_brier": lambda: scored * brier,
            "sum_brier_square": lambda: scored * brier**2,
            "sum_log_loss": lambda: scored * loss,
            "sum_log_loss_square": lambda: scored * loss**2,
        }
    return {name: sums_at(place, of(), (entries.rows, cells)) for name, of in weights.items() if name in read}


@cache
def _log_losses() -> Floats:
    """(2, 65536) log-loss of every code, for a negative and for a positive; reading it is faster than a logarithm."""
    logit = np.clip(decode(np.arange(1 << 16)), -LARGEST_LOGIT, LARGEST_LOGIT)
    with np.errstate(invalid="ignore"):  # codes that no score has
        return np.logaddexp(0.0, np.stack([logit, -logit]))


_LOGIT_ZERO = 0x8000  # the code of logit 0: a stand-in for missed positives, which weigh nothing here


def named_sums(
    table: EvidenceTable, entries: Entries, thresholds: Ints, decided: NDArray[np.bool_], read: Collection[str]
) -> dict[str, Floats]:
    """Sums of all series, name -> (S, C), those in `read`.

    decided: (S,) series whose counts come from their own decision (argmax, moments) and not from a threshold.
    """
    every = np.arange(entries.rows)
    parts = [
        scored_sums(entries_of(entries, rows), table.cells, thresholds[rows], read)
        for rows in blocks(table.sizes, every) or [every]
    ]
    sums = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name in table.names:
        if name not in read:
            continue
        given = table.sums(name)
        if name in sums:
            # A head has either scores with a threshold, or a decision of its own; only the latter has these moments.
            rows = decided if name in ("tp", "fp", "fn", "tn") else np.asarray(given.any(axis=1))
            sums[name] = np.where(rows[:, None], given, sums[name])
        else:
            sums[name] = given
    return sums
