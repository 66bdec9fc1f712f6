"""suite x bundle -> evidence."""

from gate.run.files import read_evidence, write_evidence
from gate.run.local import Run, offered, outputs_of, run
from gate.run.store import Store, open_store
from gate.run.summary import HeadSummary, contract_table

__all__ = [
    "HeadSummary",
    "Run",
    "Store",
    "contract_table",
    "offered",
    "open_store",
    "outputs_of",
    "read_evidence",
    "run",
    "write_evidence",
]
