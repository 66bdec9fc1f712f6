"""Operating points: threshold + the objective that chose it."""

from gate.calibrate.operating import OperatingPoint, beta_of, calibrate, threshold_codes
from gate.calibrate.thresholds import read_thresholds, render, thresholds_path, write_thresholds

__all__ = [
    "OperatingPoint",
    "beta_of",
    "calibrate",
    "read_thresholds",
    "render",
    "threshold_codes",
    "thresholds_path",
    "write_thresholds",
]
