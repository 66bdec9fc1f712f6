"""The examined: bundles of networks or predictions, and what they may contain."""

from gate.bundle.bundle import LOCK, MANIFEST, Bundle, Network, lock_bundle, read_bundle
from gate.bundle.scan import scanned

__all__ = ["LOCK", "MANIFEST", "Bundle", "Network", "lock_bundle", "read_bundle", "scanned"]
