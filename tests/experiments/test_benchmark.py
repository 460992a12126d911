import json
import re
import sys
import types
from pathlib import Path

import pytest

from experiments import benchmark
from experiments.benchmark import BENCHMARKS, main
from experiments.benchmarks.measuring import Line, Setting
from experiments.benchmarks.table import cells, note_of, readme, write

RESULTS = Path(__file__).parents[2] / "benchmarks"
LINES = [
    Line("shift", 2.0, naive=8.0, limit=1.0, asked=2.0, note="four times"),
    Line("data", 4.0, naive=9.0, limit=2.0, against="limit", asked=0.85),
    Line("inference", 1000.0, peer=500.0, against="peer"),
    Line("memory", 12.345, unit="MB"),
    Line("models", 2.0, peer=1.0, against="fair", peers={"fair": 3.0, "small": 1.0}, asked=1.0, why_behind="it is"),
    Line("grouping", 2.0, naive=3.0, note="loops", without={"peer": "nobody has it", "limit": "not known"}),
]


@pytest.fixture
def fake(monkeypatch):
    """One benchmark, ``fake``, which gives ``LINES`` and notes its settings."""
    settings = []

    def lines(setting):
        settings.append(setting)
        return LINES

    module = types.ModuleType("experiments.benchmarks.fake")
    module.lines = lines
    monkeypatch.setitem(sys.modules, "experiments.benchmarks.fake", module)
    monkeypatch.setattr(benchmark, "BENCHMARKS", ("fake",))
    return settings


def test_every_benchmark_there_is_runs() -> None:
    folder = Path(__file__).parents[2] / "experiments" / "benchmarks"
    texts = {path.stem: path.read_text() for path in folder.glob("*.py")}
    assert set(BENCHMARKS) == {name for name, text in texts.items() if "\ndef lines(" in text}
    for name in BENCHMARKS:
        text = texts[name]
        assert re.search(r"def lines\(\s*setting: Setting", text), name
        assert "def main(" in text


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--only", "kp"], "unknown benchmark 'kp' (choose from start_up"),
        (["--data", "/nowhere"], "--data /nowhere: holds no annotations/"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, what, capsys) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert what in told
    assert told.count("\n") == 1


def test_a_complete_run_is_written_and_printed(fake, tmp_path, capsys) -> None:
    assert main(["--out", str(tmp_path / "b"), "--full"]) == 0
    assert fake == [Setting("cpu", True, False, None)]
    printed = capsys.readouterr()
    assert "4.00× naive" in printed.out
    assert "shift: four times" in printed.out
    (file,) = (tmp_path / "b").glob("*.json")
    result = json.loads(file.read_text())
    assert [row["name"] for row in result["lines"]] == [line.name for line in LINES]
    assert result["lines"][0]["ratio"] == 4
    assert result["lines"][1]["holds"] is False
    assert result["machine"]["packages"]["torch"]
    assert (tmp_path / "b" / "README.md").read_text() == readme(tmp_path / "b")


def test_a_part_is_printed_and_not_written(fake, tmp_path, capsys) -> None:
    assert main(["--only", "fake", "--json", "--out", str(tmp_path / "b")]) == 0
    assert json.loads(capsys.readouterr().out)["lines"][4]["peers"] == {"fair": 3, "small": 1}
    assert not (tmp_path / "b").exists()


def test_ratios_and_what_is_asked() -> None:
    assert [line.ratio for line in LINES] == [4, 0.5, 0.5, None, 1.5, 1.5]
    assert [line.holds for line in LINES] == [True, False, None, None, True, None]
    assert cells(LINES[0]) == ("shift", "ms", "8", "–", "2", "1", "4.00× naive", "≥ 2 ✓")
    assert cells(LINES[1])[-2:] == ("0.50× limit", "≥ 0.85 ✗")
    assert cells(LINES[3]) == ("memory", "MB", "–", "–", "12.3", "–", "–", "–")
    assert cells(LINES[4])[3:] == ("1", "2", "–", "1.50× fair", "≥ 1 ✓")
    assert note_of(LINES[4]) == "peers: fair 3, small 1; behind small: it is"
    assert note_of(LINES[3]) == ""
    assert note_of(LINES[1]) == "behind what is asked"
    assert note_of(LINES[2]) == "behind the peer"
    assert LINES[0].behind == LINES[5].behind == []
    assert note_of(LINES[5]) == "loops; no peer: nobody has it; no limit: not known"


def test_a_column_has_a_figure_or_a_phrase() -> None:
    assert LINES[5].unexplained == []
    assert LINES[0].unexplained == ["peer"]
    assert LINES[5]._replace(limit=1.0).unexplained == ["limit"]  # one too many
    assert Line("all", 2.0, 3.0, 4.0, 1.0).unexplained == []


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_what_is_committed_says_why_it_is_behind_and_why_a_column_is_empty(file) -> None:
    for row in json.loads(file.read_text())["lines"]:
        line = Line(**{name: row[name] for name in Line._fields})
        assert line.unexplained == [], line.name
        assert not line.behind or line.why_behind, line.name
    assert (RESULTS / "README.md").read_text() == readme(RESULTS)


def test_the_readme_has_a_table_per_machine(tmp_path) -> None:
    where = {
        "device": "Some CPU @ 2 GHz",
        "cores": 2,
        "threads": 1,
        "python": "3.11",
        "packages": {"torch": "2.0", "numpy": None},
        "precision": "fp32",
        "compiled": False,
        "full": False,
        "pictures": "rendered people",
    }
    assert write(tmp_path, LINES, where, 61.0).name == "some-cpu-2-ghz.json"
    write(tmp_path, LINES[:1], {**where, "device": "A GPU", "compiled": True}, 5.0)
    file = tmp_path / "a-gpu.json"
    older = json.loads(file.read_text())
    for row in older["lines"]:
        del row["peers"]
    file.write_text(json.dumps(older))
    text = readme(tmp_path)
    assert text.index("## A GPU") < text.index("## Some CPU @ 2 GHz")
    assert "| shift | ms | 8 | – | 2 | 1 | 4.00× naive | ≥ 2 ✓ |" in text
    assert "- models: peers: fair 3, small 1; behind small: it is" in text
    assert "fp32, compiled" in text
    assert "torch 2.0. The whole took 61 s." in text


def test_a_race_takes_turns_and_gives_medians(monkeypatch) -> None:
    order, clock = [], iter(range(1000))
    monkeypatch.setattr(Setting, "clock", lambda self: next(clock))
    times = Setting().race({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=3, budget=1e9)
    assert order == ["a", "b"] * 4
    assert times == {"a": 1000, "b": 1000}


def test_a_slow_race_ends_after_two_rounds(monkeypatch) -> None:
    order, clock = [], iter(range(0, 10000, 10))
    monkeypatch.setattr(Setting, "clock", lambda self: next(clock))
    Setting(full=True).race({"a": lambda: order.append("a")}, repeats=5, budget=15.0, warm=False)
    assert order == ["a", "a"]
