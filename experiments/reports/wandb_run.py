"""A report as W&B runs of job type ``report``: the tables, curves and pictures; where possible a workspace too."""

from __future__ import annotations

import hashlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

from experiments.config import WandbConfig
from experiments.reports.charts import curves, metrics_of
from experiments.reports.collect import ReportTable
from experiments.reports.layout import lay_out


def log_reports(reports: list[ReportTable], *, directory: Path, project: str, entity: str | None) -> None:
    """One run per table, in the group ``paper/table``, under an id that stays: reporting again goes on in it.

    Online where someone is logged in, else into ``directory/wandb`` for ``wandb sync``; a table that W&B does not take
    is told and left out.
    """
    from callbacks.wandb_logging import open_wandb

    directory.mkdir(parents=True, exist_ok=True)
    is_online = False
    for report in reports:
        table = report.table
        logger = open_wandb(
            WandbConfig(project=project, entity=entity, group=f"{table.paper}/{table.slug}"),
            directory=directory,
            run_id=run_id(report),
            name=f"{table.paper} {table.label}",
            job_type="report",
            config={
                "paper": table.paper,
                "table": table.number,
                "title": table.title,
                "preset": report.preset,
                "protocols": report.protocols,
                "warnings": list(lay_out(report).warnings),
            },
        )
        if logger is None:
            return
        run = logger.experiment
        is_online = is_online or not run.offline
        logger.log_content(partial(content, report))
        logger.finish(summary(report), exit_code=0)
    if is_online:
        save_workspace(reports, project=project, entity=entity)


def run_id(report: ReportTable) -> str:
    """The same for the same table, preset and protocol."""
    under = (
        f"{report.preset} {report.protocols[:1]} {report.changes}{'' if report.weights == 'best' else report.weights}"
    )
    return f"report-{report.table.paper}-{report.table.slug}-{hashlib.sha256(under.encode()).hexdigest()[:6]}"


def content(report: ReportTable) -> dict[str, Any]:
    """What is logged: ``table`` in the paper's shape, ``figures`` one per line, ``curves/…``, ``pictures/…``."""
    import wandb

    layout = lay_out(report)
    published = [f"{layout.published_head}: {name}" for name in layout.published]
    ours = [f"{layout.ours_head}: {name}" for name in layout.ours]
    rows = [[row.name, *row.published, *row.ours, row.state] for row in layout.rows]
    logged: dict[str, Any] = {
        "table": wandb.Table(columns=["row", *published, *ours, "runs"], data=rows),
        "figures": wandb.Table(
            columns=["row", "figure", "protocol", "mean", "std", "n"],
            data=[
                [item.row.name, name, item.results[0].protocol, figure.mean, figure.std, figure.n]
                for item in report.rows
                for name, figure in item.ours.items()
            ],
        ),
    }
    for metric in metrics_of(report):
        if drawn := curves(report, metric):
            logged[f"curves/{metric.replace('/', '_')}"] = wandb.plot.line_series(
                xs=[[x for x, _ in curve.points] for curve in drawn],
                ys=[[y for _, y in curve.points] for curve in drawn],
                keys=[curve.label for curve in drawn],
                title=metric,
                xname="optimizer step",
            )
    for item in report.rows:
        for result in item.results[:1]:
            file = result.directory / "pictures" / "best.jpg"
            if file.is_file():
                caption = f"{item.row.name}, seed {result.seed}: truth beside prediction"
                logged[f"pictures/{item.row.slug}"] = wandb.Image(str(file), caption=caption)
    return logged


def summary(report: ReportTable) -> dict[str, float]:
    """``<row>/<figure>`` -> mean over seeds."""
    return {f"{item.row.slug}/{name}": figure.mean for item in report.rows for name, figure in item.ours.items()}


def workspace(reports: list[ReportTable], *, project: str, entity: str) -> Any:
    """A workspace with a section per table: its report's tables, and its runs' curves.

    Raises:
        ImportError: ``wandb-workspaces`` is not installed.
    """
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as workspaces

    sections = []
    for report in reports:
        lines = [panels.LinePlot(title=name, x="trainer/global_step", y=[name]) for name in metrics_of(report)]
        media = panels.MediaBrowser(title="truth beside prediction", media_keys=["val/pictures"])
        table = panels.WeavePanelSummaryTable(table_name="table")
        name = f"{report.table.label}: {report.table.title}"
        sections.append(workspaces.Section(name=name, panels=[table, *lines, media], is_open=True))
    columns = dict.fromkeys(f"summary:best/{name}" for report in reports for name in report.figures)
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"{reports[0].table.paper}: the paper's tables",
        sections=sections,
        runset_settings=workspaces.RunsetSettings(pinned_columns=list(columns)),
    )


def save_workspace(reports: list[ReportTable], *, project: str, entity: str | None) -> None:
    """Save the workspace on the server; what stands in the way is told in one line and harms nothing."""
    try:
        import wandb

        saved = workspace(reports, project=project, entity=entity or str(wandb.Api().default_entity))
        saved.save()
        line = f"workspace {saved.url}"
    except ImportError:
        line = "no workspace: pip install wandb-workspaces (the extra 'wandb') to have one made"
    except Exception as error:  # whatever the server or its package says, the tables are logged
        line = f"no workspace ({(str(error).strip().splitlines() or [type(error).__name__])[0]})"
    print(f"W&B: {line}", file=sys.stderr, flush=True)
