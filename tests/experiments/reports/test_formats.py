"""One table in every format: the same cells, escaped as each needs it, and nothing fetched."""

from __future__ import annotations

import csv
import io
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from experiments.reports import formats
from experiments.reports.charts import Curve, chart, curves, ticks
from experiments.reports.collect import Figure, ReportRow, ReportTable
from experiments.reports.layout import lay_out
from experiments.reports.page import page
from experiments.reports.store import Result
from experiments.tables.table import Column, Protocol, Row, Table


@pytest.fixture
def report(tmp_path: Path) -> ReportTable:
    """Two rows of ours, one with two runs and a name that every format must escape."""
    runs = []
    for seed in (0, 1):
        folder = tmp_path / f"seed{seed}"
        (folder / "pictures").mkdir(parents=True)
        (folder / "pictures" / "best.jpg").write_bytes(b"\xff\xd8 a picture")
        rows = [f"{step},0,train/loss,{step + seed}" for step in (1, 2)] + ["2,0,val/AP,0.5", "9,0,train/loss,nan", "4"]
        (folder / "metrics.csv").write_text("step,epoch,metric,value\n" + "\n".join(rows) + "\n")
        runs.append(
            Result(folder, "p", "rendered-val-3-images-single-scale", "smoke", seed, None, {}, {}, None, {}, 0.0)
        )
    odd = Row("<K> = 5 & 10 %_", "val", {"a.b": 1}, {}, {"AP": 60.3, "seconds": "> 0.65"})
    table = Table(
        paper="p",
        number="1",
        title="A | title",
        protocol="val",
        baseline="plain",
        columns=(Column("AP", "AP", None), Column("seconds", "seconds", None)),
        rows=(Row("plain", "val", {"a.b": 0}, {}, {"AP": 60.0}), odd),
        protocols={"val": Protocol("val", "val2017", "none", "false", "single", "36 epochs")},
        curves=None,
    )
    rows = (
        ReportRow(table.rows[0], {"AP": Figure(50.0, 1.25, 2)}, tuple(runs), (), {}),
        ReportRow(odd, {}, (), (), {}),
    )
    return ReportTable(table, rows, ("AP",), "smoke", {}, "best")


def test_the_terminal_puts_both_beside_or_below_each_other_and_warns_first(report: ReportTable) -> None:
    wide, narrow = formats.terminal(lay_out(report), 200), formats.terminal(lay_out(report), 40)
    for text in (wide, narrow):
        assert text.startswith("SMOKE RUNS")
        assert "ours · rendered-val-3-images-single-scale" in text
        assert "60.3 (+0.3)" in text
        assert "50.0 ± 1.2" in text
        assert "<K> = 5 & 10 %_" in text
    assert wide.count("A | title") == narrow.count("A | title") == 1
    assert wide.count("┏") == 1
    assert narrow.count("┏") == 2
    beside = next(line for line in wide.splitlines() if "│ plain" in line)
    assert "60.0" in beside
    assert "50.0 ± 1.2" in beside


def test_markdown_has_as_many_cells_in_every_line(report: ReportTable) -> None:
    text = formats.markdown(lay_out(report))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert lines[0] == "| row | published AP | published seconds | ours AP | runs |"
    assert lines[2] == "| plain | 60.0 | – | 50.0 ± 1.2 | 2 seeds |"
    assert lines[3] == "| <K> = 5 & 10 %_ | 60.3 (+0.3) | > 0.65 | – | not run |"
    assert "> **SMOKE RUNS" in text


def test_latex_escapes_what_would_break_it(report: ReportTable) -> None:
    text = formats.latex(lay_out(report))
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert rows[-1] == r"$<$K$>$ = 5 \& 10 \%\_ & 60.3 (+0.3) & $>$ 0.65 & -- & not run \\"
    assert rows[-2] == r"plain & 60.0 & -- & 50.0 $\pm$ 1.2 & 2 seeds \\"
    assert len({len(re.split(r"(?<!\\)&", row)) for row in rows[1:]}) == 1
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_csv_is_tidy_and_names_every_protocol(report: ReportTable) -> None:
    rows = list(csv.DictReader(io.StringIO(formats.comma_separated(report))))
    ours = [row for row in rows if row["source"] != "published"]
    assert len(rows) == 4
    assert ours == [
        {
            "paper": "p",
            "table": "1",
            "row": "plain",
            "source": "ours (smoke)",
            "protocol": "rendered-val-3-images-single-scale",
            "column": "AP",
            "value": "50.0",
            "std": "1.25",
            "n": "2",
            "difference": "0.0",
        }
    ]
    assert [row["difference"] for row in rows if row["row"].startswith("<K>")] == ["0.3", ""]


class Links(HTMLParser):
    """Every address a page refers to, and the text of its cells."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.cells: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.open += [] if tag in ("meta", "img") else [tag]
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_the_page_is_whole_and_refers_to_nothing_outside(report: ReportTable) -> None:
    text = page("Two <tables>", [report, report])
    reader = Links()
    reader.feed(text)
    assert reader.open == []
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in reader.addresses)
    assert sum(address.startswith("data:") for address in reader.addresses) == 2
    assert "<K> = 5 & 10 %_" in reader.cells
    assert "60.3 <small>+0.3</small>" in text
    assert "Two &lt;tables&gt;" in text
    assert "http" not in text
    assert text.count("<svg") == 2 * 2  # the loss and AP of each table
    for drawing in re.findall(r"<svg.*?</svg>", text):
        ElementTree.fromstring(drawing)


def test_curves_are_means_over_the_seeds_where_all_have_a_value(report: ReportTable) -> None:
    assert curves(report, "train/loss") == [Curve("plain", 0, [(1.0, 1.5), (2.0, 2.5)])]
    assert curves(report, "val/AP") == [Curve("plain", 0, [(2.0, 50.0)])]
    assert curves(report, "val/AR") == []


def test_a_chart_keeps_its_points_inside() -> None:
    drawing = ElementTree.fromstring(chart("a", [Curve("x", 0, [(0, -3.0), (70, 12.0)]), Curve("y", 1, [(5, 0.0)])]))
    points = [tuple(map(float, pair.split(","))) for pair in drawing.find("polyline").get("points").split()]
    assert points[0][0] < points[1][0]
    assert points[0][1] > points[1][1]
    assert all(0 <= x <= 460 and 0 <= y <= 250 for x, y in points)
    with pytest.raises(ValueError, match="nothing to draw"):
        chart("a", [])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 63.1), (-3, 12), (5, 5), (0, 0), (0, 1e-4), (0, 600_000)])
def test_ticks_are_round_rising_and_cover_the_range(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    assert found == sorted(set(found))
    assert found[0] <= low
    assert found[-1] >= high
    gaps = {f"{b - a:.9g}" for a, b in itertools.pairwise(found)}
    assert len(gaps) == 1
