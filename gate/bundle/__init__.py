"""The examined: bundles of networks or predictions, what they may contain, and what of them a change can reach."""

from gate.bundle.bundle import LOCK, MANIFEST, Bundle, Network, lock_bundle, read_bundle
from gate.bundle.describe import Description, Port, describe
from gate.bundle.impact import Cause, Impact, digests_of, impact_of, program_bytes, program_graph
from gate.bundle.made import Graph, Node
from gate.bundle.onnx_scan import looks_like_onnx
from gate.bundle.scan import scanned

__all__ = [
    "LOCK",
    "MANIFEST",
    "Bundle",
    "Cause",
    "Description",
    "Graph",
    "Impact",
    "Network",
    "Node",
    "Port",
    "describe",
    "digests_of",
    "impact_of",
    "lock_bundle",
    "looks_like_onnx",
    "program_bytes",
    "program_graph",
    "read_bundle",
    "scanned",
]
