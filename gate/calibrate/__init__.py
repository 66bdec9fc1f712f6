"""Operating points: threshold + the objective that chose it."""

from gate.calibrate.maps import IDENTITY, CalibrationMap, Kind, apply_maps, fit_maps
from gate.calibrate.objective import Objective, objective_of
from gate.calibrate.operating import OperatingPoint, calibrate, threshold_codes
from gate.calibrate.reliability import Reliability, reliability
from gate.calibrate.thresholds import read_points, read_thresholds, render, thresholds_path, write_thresholds

__all__ = [
    "IDENTITY",
    "CalibrationMap",
    "Kind",
    "Objective",
    "OperatingPoint",
    "Reliability",
    "apply_maps",
    "calibrate",
    "fit_maps",
    "objective_of",
    "read_points",
    "read_thresholds",
    "reliability",
    "render",
    "threshold_codes",
    "thresholds_path",
    "write_thresholds",
]
