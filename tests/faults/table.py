"""``pytest -p tests.faults.table -m fault`` ends with a table: fault, expected, seen, test. A row without a test fails.

What was seen is what the program said: the message of the last error a test expected, the last line it printed on
stderr, or what the test recorded as ``seen`` itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console
from rich.table import Column, Table

from tests.faults.matrix import ROWS

WIDTH = 220


@dataclass
class Entry:
    """One test function on one row; its parametrised cases together."""

    row: int
    what: str
    expected: str
    test: str
    outcomes: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


_entries: dict[tuple[int, str, str], Entry] = {}
_of_item: dict[str, list[Entry]] = {}


def pytest_collection_finish(session: pytest.Session) -> None:
    for item in session.items:
        for marker in item.iter_markers("fault"):
            row, what, expected = marker.args
            test = re.sub(r"\[.*\]$", "", item.nodeid).removeprefix("tests/")
            entry = _entries.setdefault((row, what, test), Entry(row, what, expected, test))
            _of_item.setdefault(item.nodeid, []).append(entry)


@pytest.fixture(autouse=True)
def _notice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keeps what the test's expected errors and its program's stderr say."""
    said: list[str] = []
    real_raises, real_read = pytest.raises, pytest.CaptureFixture.readouterr

    @contextmanager
    def raises(*arguments: Any, **options: Any) -> Iterator[Any]:
        with real_raises(*arguments, **options) as caught:
            yield caught
        said.append(str(caught.value))
        del caught  # else its traceback keeps this frame, and what the program held, alive

    def readouterr(self: Any) -> Any:
        captured = real_read(self)
        said.extend(line for line in str(captured.err).splitlines() if line.strip())
        return captured

    monkeypatch.setattr(pytest, "raises", raises)
    monkeypatch.setattr(pytest.CaptureFixture, "readouterr", readouterr)
    yield
    own = [str(value) for name, value in request.node.user_properties if name == "seen"]
    for entry in _of_item.get(request.node.nodeid, []):
        entry.seen.extend([*said[-1:], *own][-1:])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        for entry in _of_item.get(report.nodeid, []):
            entry.outcomes.append(report.outcome)
            if report.skipped and isinstance(report.longrepr, tuple):
                entry.seen.append(f"not run here: {report.longrepr[2].removeprefix('Skipped: ')}")


def missing_rows() -> list[int]:
    return sorted(ROWS.keys() - {entry.row for entry in _entries.values()})


def pytest_sessionfinish(session: pytest.Session) -> None:
    if missing_rows() and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    table = Table("#", "fault", "expected", "seen", Column("test", overflow="fold"), "", pad_edge=False)
    for number, (fault, expected) in ROWS.items():
        entries = [entry for entry in _entries.values() if entry.row == number]
        table.add_row(str(number), fault, expected, "" if entries else "NO TEST", "", "", style="bold")
        for entry in entries:
            table.add_row("", f"· {entry.what}", entry.expected, _shown(entry), entry.test, _verdict(entry))
    terminalreporter.ensure_newline()
    Console(width=WIDTH, file=terminalreporter._tw._file, highlight=False, markup=False).print(table)
    counts = {name: sum(_verdict(entry).startswith(name) for entry in _entries.values()) for name in ("ok", "not run")}
    failed = len(_entries) - sum(counts.values())
    terminalreporter.write_line(
        f"{len(ROWS)} rows, {len(_entries)} faults: {counts['ok']} as expected, {failed} not, "
        f"{counts['not run']} not run here, {len(missing_rows())} rows without a test"
    )


def _verdict(entry: Entry) -> str:
    if "failed" in entry.outcomes:
        return "FAILED"
    passed = entry.outcomes.count("passed")
    if not passed:
        return "not run"
    return "ok" if passed == 1 else f"ok ×{passed}"


def _shown(entry: Entry) -> str:
    if not entry.seen:
        return "as expected (asserted; nothing is said)"
    text = " ".join(entry.seen[-1].split()).removeprefix("error: ")
    return re.sub(r"/\S*?/pytest-of-[^/]+/pytest-\d+/[^/\s]+/", "…/", text)[:300]
