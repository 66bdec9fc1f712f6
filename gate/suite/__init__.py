"""The exam: frames, truths, splits, slices and heads, frozen under a lock."""

from gate.suite.contract import ContractResult
from gate.suite.definition import Input
from gate.suite.frames import Frames, Slice
from gate.suite.suite import EVALUATOR, Suite, open_suite, read_suite
from gate.suite.truth import BoxTruth, Truths

__all__ = [
    "EVALUATOR",
    "BoxTruth",
    "ContractResult",
    "Frames",
    "Input",
    "Slice",
    "Suite",
    "Truths",
    "open_suite",
    "read_suite",
]
