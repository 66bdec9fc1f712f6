"""Decision -> page, JSON, JUnit, Markdown, terminal: pure functions of a Decision; only `write_reports` writes."""

from gate.report.html import render_page
from gate.report.junit import junit_xml
from gate.report.summary import summary_markdown
from gate.report.terminal import print_decision
from gate.report.verdict import SCHEMA, schema, verdict_json
from gate.report.write import write_reports

__all__ = [
    "SCHEMA",
    "junit_xml",
    "print_decision",
    "render_page",
    "schema",
    "summary_markdown",
    "verdict_json",
    "write_reports",
]
