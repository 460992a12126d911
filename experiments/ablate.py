"""Run the rows of a paper's table, here or on a SLURM cluster.

    python -m experiments.ablate --paper inspose --table 1 --dry-run
    python -m experiments.ablate --paper inspose --table 1 --seeds 3 data.root=/path/to/coco
    python -m experiments.ablate --paper inspose --table 1 --launcher slurm --sbatch=--gres=gpu:8 data.root=…

First the plan: what differs from row to row, how far each run is, and what is left to do costs, measured on a finished
run of the table or by a short probe. Then the runs, each as `experiments.run --resume` in <output.root>/<paper>/
<table>-<row>-seed<k>. The same command goes on where it was stopped: finished runs are skipped, interrupted ones
resumed, failed ones tried again. Rows that differ in their test only share one training. Two of these at once share
the rows. docs/tables.md says more.

exit codes: 0 all runs are finished (or the plan is shown, or handed over); 1 some failed; 2 refused (a mistake in the
command or the configuration); 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from experiments.ablation.plan import Job, State, choose_rows, make_jobs, state_of, varied
from experiments.command_line import FAILED, answer, make_folder, positive, run_program, say
from experiments.config import ConfigError, compose
from experiments.tables.loader import find_table, list_tables
from experiments.tables.table import Row, Table

_OVERRIDE = re.compile(r"[a-z_]\w*(\.\w+)*=")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_intermixed_args(arguments)
    return answer(lambda report: _ablate(options, report), as_json=options.json)


def _ablate(options: argparse.Namespace, report: dict[str, Any]) -> int:
    table = find_table(options.paper, options.table)
    _part_rows_from_overrides(options)
    names = [options.row] if options.row is not None else options.rows
    rows = choose_rows(table, names)
    seeds = [options.seed] if options.seed is not None else list(range(options.seeds))
    jobs = make_jobs(table, rows, seeds, options.preset, options.overrides)
    tell = say if options.json else _print
    if options.sweep is not None:
        return _write_sweep(options, table, rows, seeds, report, tell)
    if options.sbatch and options.launcher != "slurm":
        raise ConfigError("--sbatch is of --launcher slurm")
    states = {job.name: state_of(job) for job in jobs}
    if not options.json:
        _show_plan(table, rows, seeds, jobs, states, options.preset)
    open_jobs = [job for job in jobs if states[job.name].kind not in ("finished", "other")]
    trainings = [job for job in open_jobs if job.trains]
    if open_jobs and not options.dry_run:
        make_folder(open_jobs[0].directory.parent, "output.root")
    if trainings:
        _estimate(options, jobs, trainings, states, report, tell)
    if tests := len(open_jobs) - len(trainings):
        tell(f"{tests} row{'s' if tests != 1 else ''} to test on the checkpoint of another")
    if options.dry_run:
        report["runs"] = _rows_of_report(jobs, states)
        return 0
    if options.launcher == "slurm":
        return _hand_over(options, table, trainings, report, tell)
    return _run(jobs, report, tell)


def _part_rows_from_overrides(options: argparse.Namespace) -> None:
    """``--rows a b key=value``: what is typed as an override is one."""
    words = options.rows or []
    options.overrides += [word for word in words if _OVERRIDE.match(word)]
    options.rows = [word for word in words if not _OVERRIDE.match(word)] or None


def _estimate(
    options: argparse.Namespace,
    jobs: list[Job],
    open_jobs: list[Job],
    states: dict[str, State],
    report: dict[str, Any],
    say: Any,
) -> None:
    """A finished run tells for nothing; a probe runs where it is wanted, or where runs follow at once."""
    from experiments.ablation.estimate import cost_by_probe, cost_of_finished, total_text

    cost = cost_of_finished(jobs, states)
    wants_probe = options.probe or not (options.dry_run or options.no_probe or options.launcher == "slurm")
    if cost is None and wants_probe:
        say(f"probing {open_jobs[0].name}")
        cost = cost_by_probe(open_jobs[0])
    if cost is not None:
        say(total_text(cost, len(open_jobs)))
        report["estimate"] = {"runs": len(open_jobs), **cost._asdict()}
    else:
        say(f"{len(open_jobs)} run{'s' if len(open_jobs) != 1 else ''} to do (--probe measures what they cost)")


def _run(jobs: list[Job], report: dict[str, Any], say: Any) -> int:
    from experiments.ablation.jobs import Jobs

    outcome = Jobs(jobs, say).run()
    report["runs"] = _rows_of_report(jobs, outcome.states)
    wrong = [job for job in jobs if outcome.states[job.name].kind != "finished"]
    if outcome.signum is not None:
        say(f"stopped with {len(jobs) - len(wrong)} of {len(jobs)} runs finished; the same command goes on")
        return 128 + outcome.signum
    for job in wrong:
        log = f", log in {job.log_file}" if job.log_file.exists() else ""
        say(f"{job.name}: {outcome.states[job.name].kind}, {outcome.states[job.name].note}{log}")
    say(f"{len(jobs) - len(wrong)} of {len(jobs)} runs finished; experiments.report shows them")
    return FAILED if wrong else 0


def _hand_over(options: argparse.Namespace, table: Table, jobs: list[Job], report: dict[str, Any], say: Any) -> int:
    from experiments.ablation.slurm import array_script, submit

    if not jobs:
        say("nothing to train; --launcher local tests what is left")
        return 0
    folder = jobs[0].directory.parent / "slurm"
    folder.mkdir(parents=True, exist_ok=True)
    name = "-".join([options.paper, *([options.preset] if options.preset else []), table.slug])
    file = folder / f"{name}.sbatch"
    file.write_text(array_script(jobs, name, options.sbatch, folder))
    report["script"] = str(file)
    say(f"{len(jobs)} runs in {file}")
    report["answer"] = submit(file)
    say(report["answer"])
    return 0


def _write_sweep(
    options: argparse.Namespace, table: Table, rows: list[Row], seeds: list[int], report: dict[str, Any], say: Any
) -> int:
    from experiments.ablation.sweep import sweep_file

    project = compose(options.paper, options.preset, options.overrides).wandb.project
    Path(options.sweep).write_text(sweep_file(table, rows, seeds, options.preset, options.overrides, project))
    report["sweep"] = str(options.sweep)
    say(f"{len(rows) * len(seeds)} runs: wandb sweep {options.sweep}, then wandb agent with what it answers")
    return 0


def _show_plan(
    table: Table, rows: list[Row], seeds: list[int], jobs: list[Job], states: dict[str, State], preset: str | None
) -> None:
    from rich.console import Console
    from rich.table import Table as Grid

    differing = varied(table, rows)
    grid = Grid()
    grid.add_column("row")
    for key in differing:
        grid.add_column(key, overflow="fold")
    grid.add_column(f"seed {', '.join(map(str, seeds))}", overflow="fold")
    for index, row in enumerate(rows):
        of_row = [_shown_state(job, states) for job in jobs if job.row is row]
        grid.add_row(row.name, *(texts[index] for texts in differing.values()), ", ".join(of_row))
    _print(f"{table.paper} {table.label}: {table.title} · {preset or 'recipe'}")
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(grid)
    for job in jobs:
        if states[job.name].kind == "other" or (states[job.name].kind == "finished" and states[job.name].note):
            _print(f"{job.name}: {states[job.name].kind}, {states[job.name].note}")


def _shown_state(job: Job, states: dict[str, State]) -> str:
    kind = states[job.name].kind
    return kind if job.trains or kind != "new" else f"tests {job.trained_by}"


def _rows_of_report(jobs: list[Job], states: dict[str, State]) -> list[dict[str, Any]]:
    return [
        {
            "name": job.name,
            "row": job.row.name,
            "seed": job.seed,
            "state": states[job.name].kind,
            "trained_by": job.trained_by,
            "note": states[job.name].note,
            "directory": str(states[job.name].directory or job.directory),
            "log": str(job.log_file),
        }
        for job in jobs
    ]


def _print(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ablate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--paper", required=True, help=f"one of {', '.join(list_tables())}")
    parser.add_argument("--table", required=True, help="its number; experiments.report --list shows them")
    rows, seeds, cost = (parser.add_mutually_exclusive_group() for _ in range(3))
    rows.add_argument("--rows", nargs="+", metavar="ROW", help="only these; default: all of ours")
    seeds.add_argument("--seeds", type=positive, default=1, metavar="N", help="seeds 0 to N-1 (default 1)")
    rows.add_argument("--row", help="one row alone, as a sweep's agent asks for it")
    seeds.add_argument("--seed", type=int, help="this seed alone")
    parser.add_argument("--preset", help="a preset of the paper; what a row switches wins over it")
    parser.add_argument("--dry-run", action="store_true", help="the plan, and stop")
    cost.add_argument("--probe", action="store_true", help="measure time and disk also for --dry-run and slurm")
    cost.add_argument("--no-probe", action="store_true", help="start without measuring")
    parser.add_argument("--launcher", choices=("local", "slurm"), default="local")
    parser.add_argument("--sbatch", action="append", default=[], metavar="OPTION", help="of sbatch; may be repeated")
    parser.add_argument("--sweep", metavar="FILE", help="write a W&B sweep of the rows instead of running them")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, all else on stderr")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for experiments.run; wins over the rows")
    return parser


if __name__ == "__main__":
    run_program(main)
