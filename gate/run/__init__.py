"""suite x bundle -> evidence."""

from gate.run.contracts import contract_checks
from gate.run.files import read_evidence, write_evidence
from gate.run.local import Run, Watch, offered, outputs_of, run, watched
from gate.run.partition import rounds_of
from gate.run.session import needed_for
from gate.run.spans import Tables
from gate.run.store import Store, open_store
from gate.run.summary import HeadSummary, contract_table

__all__ = [
    "HeadSummary",
    "Run",
    "Store",
    "Tables",
    "Watch",
    "contract_checks",
    "contract_table",
    "needed_for",
    "offered",
    "open_store",
    "outputs_of",
    "read_evidence",
    "rounds_of",
    "run",
    "watched",
    "write_evidence",
]
