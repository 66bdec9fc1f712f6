"""suite x bundle -> evidence."""

from gate.run.local import Run, offered, outputs_of, run
from gate.run.summary import HeadSummary, contract_table

__all__ = ["HeadSummary", "Run", "contract_table", "offered", "outputs_of", "run"]
