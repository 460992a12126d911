"""Every command answers alike: one line for what went wrong, one JSON object where it is asked for."""

import argparse
import json
import os
import signal
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from experiments.command_line import FAILED, INTERRUPTED, REFUSED, answer, positive, run_program, stdout_to_stderr


def raising(error: BaseException) -> Any:
    def work(report: dict[str, Any]) -> int:
        report["begun"] = True
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("data.rot:\n  no such key"), REFUSED, "error: data.rot: no such key"),
        (OSError("disk full"), FAILED, "error: disk full"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
    ],
)
def test_what_goes_wrong_is_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(raising(error), as_json=False, on_os_error=FAILED) == code
    assert capsys.readouterr() == ("", f"{line}\n")
    assert answer(raising(error), as_json=True, on_os_error=FAILED) == code
    out, err = capsys.readouterr()
    assert json.loads(out) == {"exit_code": code, "begun": True, "error": line.removeprefix("error: ")}
    assert err == f"{line}\n"


def test_ctrl_c_is_told_as_that_where_lightning_makes_an_exit_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    class Model(pl.LightningModule):
        def validation_step(self, batch: Any) -> None:
            raise KeyboardInterrupt

    def work(report: dict[str, Any]) -> int:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        pl.Trainer(accelerator="cpu", **quiet).validate(Model(), [torch.zeros(1)], verbose=False)
        return 0

    before = signal.getsignal(signal.SIGINT)
    try:
        assert answer(work, as_json=True) == INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning leaves it ignored
    assert json.loads(capsys.readouterr().out) == {"exit_code": INTERRUPTED, "error": "interrupted"}
    with pytest.raises(SystemExit):
        answer(raising(SystemExit(3)), as_json=True)


def test_an_error_of_our_own_making_is_not_hidden() -> None:
    with pytest.raises(KeyError):
        answer(raising(KeyError("a bug")), as_json=True)


def test_the_report_is_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    def work(report: dict[str, Any]) -> int:
        report["AP"] = 0.5
        return 1

    assert answer(work, as_json=True) == 1
    assert json.loads(capsys.readouterr().out) == {"exit_code": 1, "AP": 0.5}


def test_what_libraries_print_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with stdout_to_stderr():
        os.write(1, b"from C\n")
    print("answer", flush=True)
    assert capfd.readouterr() == ("answer\n", "from C\n")


def test_positive_takes_whole_numbers_from_one() -> None:
    assert positive("12") == 12
    for text in ("0", "-1", "1.5", "x", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="no whole number from 1"):
            positive(text)


def test_a_broken_pipe_of_something_else_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(raising(BrokenPipeError("a worker is gone")), as_json=False, on_os_error=FAILED) == FAILED
    assert capsys.readouterr().err == "error: a worker is gone\n"

    def main() -> int:
        raise BrokenPipeError("a worker is gone")

    with pytest.raises(BrokenPipeError, match="a worker is gone"):
        run_program(main)


def test_a_program_ends_with_the_code_of_its_main() -> None:
    def main() -> int:
        return REFUSED

    with pytest.raises(SystemExit) as end:
        run_program(main)
    assert end.value.code == REFUSED
