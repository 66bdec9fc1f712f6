"""Operating points: threshold + the objective that chose it."""

from gate.calibrate.maps import IDENTITY, CalibrationMap, Kind, apply_maps, fit_maps
from gate.calibrate.objective import Objective, objective_of
from gate.calibrate.operating import Asked, OperatingPoint, Settled, as_points, calibrate, settle, threshold_codes
from gate.calibrate.reliability import Reliability, reliability
from gate.calibrate.thresholds import read_points, read_thresholds, render, thresholds_path, write_thresholds

__all__ = [
    "IDENTITY",
    "Asked",
    "CalibrationMap",
    "Kind",
    "Objective",
    "OperatingPoint",
    "Reliability",
    "Settled",
    "apply_maps",
    "as_points",
    "calibrate",
    "fit_maps",
    "objective_of",
    "read_points",
    "read_thresholds",
    "reliability",
    "render",
    "settle",
    "threshold_codes",
    "thresholds_path",
    "write_thresholds",
]
