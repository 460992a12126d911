from pathlib import Path

import pytest

from experiments.benchmark import BENCHMARKS, main


def test_every_benchmark_there_is_runs() -> None:
    folder = Path(__file__).parents[2] / "experiments" / "benchmarks"
    assert set(BENCHMARKS) == {path.stem for path in folder.glob("*.py")} - {"__init__"}


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["kp"])
    assert refused.value.code == 2
    assert "inspose_kp_nets" in capsys.readouterr().err
