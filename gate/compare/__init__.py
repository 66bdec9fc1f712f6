"""The statistics: contributions by clip, the test, the bound."""

from gate.compare.bound import clips_needed, detectable, enough_events, guard_holds, half_width, leaning, total_error
from gate.compare.compare import compare, new_errors, precision_deltas
from gate.compare.comparison import Comparison, aggregate
from gate.compare.pairings import paired
from gate.compare.sides import Question, Side
from gate.compare.signflip import MIN_CLIPS, FamilyTest, eligible, prove_loss, seed_of, sign_vectors
from gate.compare.unreached import Still, Unreached, noted_of_networks, unreached_of

__all__ = [
    "MIN_CLIPS",
    "Comparison",
    "FamilyTest",
    "Question",
    "Side",
    "Still",
    "Unreached",
    "aggregate",
    "clips_needed",
    "compare",
    "detectable",
    "eligible",
    "enough_events",
    "guard_holds",
    "half_width",
    "leaning",
    "new_errors",
    "noted_of_networks",
    "paired",
    "precision_deltas",
    "prove_loss",
    "seed_of",
    "sign_vectors",
    "total_error",
    "unreached_of",
]
