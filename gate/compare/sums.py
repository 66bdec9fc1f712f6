"""From evidence to named sums: counts at an operating point, losses of scores, moments, by cell and by clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gate.lattice import LARGEST_LOGIT, MISSED, decode, probability
from gate.table import Entries, EvidenceTable, Floats, Ints


def scored_sums(entries: Entries, cells: int, thresholds: Ints) -> dict[str, Floats]:
    """Sums of scored events, name -> (S, C): counts at each series' threshold code, losses, and their squares.

    Brier: (p - y)². Log-loss in nats, of the logit, so that it has all its digits; logits beyond half precision
    count as its largest, 65,504. Missed positives have no score: they are `fn` and enter no loss.
    """
    place = entries.series * cells + entries.cell
    size = entries.rows * cells

    def add(weights: Floats) -> Floats:
        return np.bincount(place, weights, size).astype(np.float64).reshape(entries.rows, cells)

    count = entries.count.astype(np.float64)
    positive = entries.positive
    accepted = (entries.code >= thresholds[entries.series]) & (entries.code != MISSED)
    scored = np.where(entries.code == MISSED, 0.0, count)
    code = np.where(entries.code == MISSED, _LOGIT_ZERO, entries.code).astype(np.uint16)
    brier = (probability(code) - positive) ** 2
    logit = np.clip(decode(code), -LARGEST_LOGIT, LARGEST_LOGIT)
    loss = np.logaddexp(0.0, np.where(positive, -logit, logit))
    return {
        "tp": add(count * (positive & accepted)),
        "fp": add(count * (~positive & accepted)),
        "fn": add(count * (positive & ~accepted)),
        "tn": add(count * (~positive & ~accepted)),
        "events": add(count),
        "sum_brier": add(scored * brier),
        "sum_brier_square": add(scored * brier**2),
        "sum_log_loss": add(scored * loss),
        "sum_log_loss_square": add(scored * loss**2),
    }


_LOGIT_ZERO = 0x8000  # the code of logit 0: a stand-in for missed positives, which weigh nothing here


def named_sums(
    table: EvidenceTable, entries: Entries, thresholds: Ints, decided: NDArray[np.bool_]
) -> dict[str, Floats]:
    """All sums of all series, name -> (S, C).

    decided: (S,) series whose counts come from their own decision (argmax, moments) and not from a threshold.
    """
    sums = scored_sums(entries, table.cells, thresholds)
    for name in table.names:
        given = table.sums(name)
        if name in sums:
            # A head has either scores with a threshold, or a decision of its own; only the latter has these moments.
            rows = decided if name in ("tp", "fp", "fn", "tn") else np.asarray(given.any(axis=1))
            sums[name] = np.where(rows[:, None], given, sums[name])
        else:
            sums[name] = given
    return sums
