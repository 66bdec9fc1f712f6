"""suite x bundle -> evidence."""

from gate.run.local import Run, Watch, offered, outputs_of, run
from gate.run.program import BATCH
from gate.run.summary import HeadSummary, contract_table

__all__ = ["BATCH", "HeadSummary", "Run", "Watch", "contract_table", "offered", "outputs_of", "run"]
