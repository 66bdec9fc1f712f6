"""Decision -> page, sign-off, JSON, JUnit, SARIF, Markdown, terminal, notebook.

Pure functions of a Decision; only `write_reports` writes.
"""

from gate.report.html import render_page
from gate.report.junit import junit_xml
from gate.report.notebook import decision_html
from gate.report.sarif import sarif_json
from gate.report.signoff import signoff_page
from gate.report.summary import summary_markdown
from gate.report.terminal import print_decision
from gate.report.verdict import SCHEMA, schema, verdict_json
from gate.report.write import write_reports

__all__ = [
    "SCHEMA",
    "decision_html",
    "junit_xml",
    "print_decision",
    "render_page",
    "sarif_json",
    "schema",
    "signoff_page",
    "summary_markdown",
    "verdict_json",
    "write_reports",
]
