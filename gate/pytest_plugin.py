"""`pytest --gate verdict.json`: a decision as tests, one a prediction, and a team's own checks beside it.

All must pass: pytest ends with 0 only if the decision is GO and no check of the team's fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from gate.bundle import Bundle
    from gate.table import EvidenceTable


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gate", "release gate")
    group.addoption("--gate", metavar="FILE", type=Path, help="verdict.json whose predictions become tests")
    for name, what in (("candidate", "bundle under test"), ("incumbent", "bundle that ships now"), ("suite", "suite")):
        group.addoption(f"--gate-{name}", metavar="DIR", type=Path, help=f"{what}, for the fixtures of the same name")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """The cases of the decision come first; -k and --deselect see them."""
    if (path := config.getoption("--gate")) is not None:
        items[:0] = Verdict.from_parent(session, name=str(path), path=Path(path).resolve()).collect()


class Verdict(pytest.File):
    """verdict.json as the cases of junit.xml, which fail exactly when the decision is not GO."""

    def collect(self) -> Iterator[pytest.Item]:
        from xml.etree import ElementTree as ET

        from gate.errors import GateError
        from gate.report.junit import junit_xml
        from gate.report.verdict import read_verdict

        try:
            cases = ET.fromstring(junit_xml(read_verdict(self.path))).iter("testcase")
        except GateError as error:
            raise pytest.UsageError(str(error)) from error
        for case in cases:
            yield Case.from_parent(self, name=case.attrib["name"], case=case)


class Case(pytest.Item):
    """One prediction, one group, or the decision itself."""

    def __init__(self, *, case: Element, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.case = case

    def runtest(self) -> None:
        failure, skipped = self.case.find("failure"), self.case.find("skipped")
        if failure is not None:
            pytest.fail(f"{failure.attrib['message']}\n{failure.text or ''}", pytrace=False)
        if skipped is not None:
            pytest.skip(skipped.attrib["message"])

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"{self.case.attrib['classname']}: {self.name}"


@pytest.fixture(scope="session")
def candidate(request: pytest.FixtureRequest) -> Bundle:
    """The bundle of --gate-candidate."""
    return _bundle(request, "candidate")


@pytest.fixture(scope="session")
def incumbent(request: pytest.FixtureRequest) -> Bundle:
    """The bundle of --gate-incumbent."""
    return _bundle(request, "incumbent")


@pytest.fixture(scope="session")
def evidence(request: pytest.FixtureRequest) -> Callable[[Bundle], Mapping[str, EvidenceTable]]:
    """A function that answers the evidence of each judged head of a bundle, on the suite of --gate-suite.

    What a store has is not run again.
    """
    from gate.cli import store
    from gate.run import run
    from gate.suite import read_suite

    suite, kept = read_suite(_folder(request, "suite")), store.opened(None)
    return lambda bundle: run(bundle, suite, None, lambda done, of: None, kept).evidence


def _bundle(request: pytest.FixtureRequest, name: str) -> Bundle:
    from gate.bundle import read_bundle

    return read_bundle(_folder(request, name))


def _folder(request: pytest.FixtureRequest, name: str) -> Path:
    if (folder := request.config.getoption(f"--gate-{name}")) is None:
        pytest.fail(f"this check asks for the {name}: give --gate-{name} DIR", pytrace=False)
    return folder
