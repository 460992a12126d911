"""The command: what it refuses before it looks at a checkpoint, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from experiments import analyze


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--paper", "inspose"], "no analysis for paper 'inspose'; there is one for graph_pcnn"),
        (["--paper", "ssn", "--naive", "runs/other"], "--naive is of ssa, not of ssn"),
        (["--paper", "ssa", "--fsm", "3"], "--fsm is of ssn, not of ssa"),
        (["--paper", "ssa", "--compare", "runs/other"], "--compare is of ssn, not of ssa"),
        (["--paper", "ssn", "--images", "0"], "'0' is no whole number from 1"),
        (["--paper", "ssn", "--images", "-1"], "'-1' is no whole number from 1"),
        (["--paper", "ssn", "--fsm", "0"], "'0' is no whole number from 1"),
        (["--paper", "ssn", "data.root=/data", "--out", "x"], "nowhere: no such file"),
    ],
)
def test_mistakes_are_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: Any = analyze.main([*arguments, "--run", "nowhere"])
    except SystemExit as end:  # argparse's own
        code = end.code
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device"), 2, "error: [Errno 28] No space left on device"),
    ],
)
def test_what_stops_it_is_one_line(
    error: BaseException, code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(options: Any) -> None:
        raise error

    monkeypatch.setattr(analyze, "load", lambda name: stopped)
    assert analyze.main(["--paper", "ssn", "--run", "nowhere"]) == code
    assert capsys.readouterr().err.strip() == told
