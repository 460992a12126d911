"""Train and evaluate one paper.

    python -m experiments.run --paper inspose data.root=/path/to/coco
    python -m experiments.run --paper inspose --preset demo
    python -m experiments.run --paper inspose --print-config | less

Everything a run leaves behind lies in runs/<paper>/<name>: config.yaml, result.json, metrics.csv, curves.png,
pictures/, predictions.json, best.ckpt, last.ckpt, wandb/.

exit codes: 0 done; 1 failed while training; 2 refused before training (a mistake in the command, configuration or
data); 130 interrupted by Ctrl-C, 143 by SIGTERM, 138 by SIGUSR1 (resumable with --resume; a SLURM job is requeued).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from experiments.command_line import FAILED, INTERRUPTED, REFUSED, UNREAD, run_program, say
from experiments.config import ConfigError, RunConfig, compose, list_papers, list_presets, to_plain
from experiments.no_ops import find_no_ops
from experiments.training.run_directory import (
    RunDirectory,
    is_first_process,
    join_run_directory,
    open_run_directory,
    write_config,
)
from experiments.training.slurm import end_interrupted_task, is_slurm_job
from lightning_modules.papers import PAPERS


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = parser().parse_intermixed_args(arguments)
    answer = _claim_stdout() if options.json else None
    report: dict[str, Any] = {}
    code = _guarded(options, report)
    if answer is not None and is_first_process():
        try:
            os.write(answer, (json.dumps({"exit_code": code, **report}) + "\n").encode())
        except BrokenPipeError:
            return code or UNREAD
    return code


def _guarded(options: argparse.Namespace, report: dict[str, Any]) -> int:
    try:
        if options.list:
            return _list(options, report)
        if options.paper is None:
            raise ConfigError(f"--paper is missing (papers: {', '.join(list_papers())})")
        config = compose(options.paper, options.preset, options.overrides)
        if options.name is not None:
            config = compose(options.paper, options.preset, [*options.overrides, f"name={options.name}"])
        if options.print_config:
            return _print_config(config, options, report)
        return _run(config, options, report)
    except ConfigError as error:
        return _tell(error, report, REFUSED)
    except KeyboardInterrupt:
        return _tell("interrupted before training", report, INTERRUPTED)


def _run(config: RunConfig, options: argparse.Namespace, report: dict[str, Any]) -> int:
    is_first = is_first_process()
    resume = options.resume or int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    if is_first:
        directory, line = open_run_directory(config, resume=resume)
        if line:
            say(line)
        config = dataclasses.replace(config, name=directory.path.name)
        write_config(directory, config)
        for line in find_no_ops(config):
            say(line)
    else:
        directory = join_run_directory(config)
    report.update(paper=config.paper, name=directory.path.name, directory=str(directory.path))
    state, code = "failed", FAILED
    try:
        state, code = _train(config, directory, options, report, is_first=is_first, resume=resume)
    except KeyboardInterrupt:  # before there is a session
        state = "interrupted"
        raise
    finally:
        if is_first:
            with contextlib.suppress(OSError):  # a full disk was told already
                directory.note(state)
    if "result" in report and not options.json:
        from experiments.training.summary import print_summary

        print_summary(report)
    if code == 128 + signal.SIGUSR1 and is_slurm_job() and (line := end_interrupted_task(is_first=is_first)):
        say(line)
    return code


def _train(
    config: RunConfig,
    directory: RunDirectory,
    options: argparse.Namespace,
    report: dict[str, Any],
    *,
    is_first: bool,
    resume: bool,
) -> tuple[str, int]:
    from experiments.quiet import quieten

    quieten()
    # Also what only the end needs: the files on disk may be another version's by then.
    from callbacks.interruption import Interrupted
    from experiments.training import summary  # noqa: F401, printed at the end by ``_run``
    from experiments.training.session import Session

    session: Session | None = None
    try:
        session = Session(config, directory, is_first=is_first, say=say)
        session.fit(resume=resume)
        outcome = session.finish()
    except Interrupted as error:
        _abandon(session)
        step = session.trainer.global_step if session is not None else 0
        hint = f"{error} at step {step}; --resume continues it" if step else f"{error} before the first step"
        return "interrupted", _tell(hint, report, 128 + error.signum)
    except (KeyboardInterrupt, SystemExit):
        _abandon(session)
        return "interrupted", _tell("stopped at once; --resume continues from last.ckpt", report, INTERRUPTED)
    except Exception as error:
        culprit = session.explain(error) if session else None
        _abandon(session)
        if culprit is not None:
            return "failed", _tell(RuntimeError(culprit), report, FAILED)
        code = FAILED if session is not None and session.has_trained else REFUSED
        if options.traceback or not _is_plain(error):
            traceback.print_exc()
        return "failed", _tell(error, report, code if _is_plain(error) else FAILED)
    if outcome.result_file is not None:
        report.update(json.loads(outcome.result_file.read_text()))
        report["result"] = str(outcome.result_file)
        report["pictures"] = str(outcome.picture) if outcome.picture else None
    return "finished", 0


def _abandon(session: Any) -> None:
    if session is not None:
        with contextlib.suppress(OSError):  # the error that led here is told
            session.abandon()


def _is_plain(error: Exception) -> bool:
    """Whether the message alone tells the user what to do: errors our own code raises on purpose, and the machine's."""
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    from callbacks.nan_guard import NonFiniteLoss

    if isinstance(error, (NonFiniteLoss, MisconfigurationException, OSError)) or _worker_line(error):
        return True
    ours = Path(__file__).parents[1]
    packages = {path.parent.name for path in ours.glob("*/__init__.py")}
    frames = traceback.extract_tb(error.__traceback__)
    raised_here = bool(frames) and Path(frames[-1].filename).is_relative_to(ours) and ".venv" not in frames[-1].filename
    return isinstance(error, ValueError) and (raised_here or type(error).__module__.split(".")[0] in packages)


def _worker_line(error: Exception) -> str | None:
    """What a DataLoader has to say about its workers, in one line; None for any other error."""
    text = str(error)
    if isinstance(error, RuntimeError) and text.startswith("DataLoader"):
        return f"{text}: the system ended it, mostly for want of memory (fewer data.num_workers), or it hung"
    if isinstance(error, (ConnectionError, EOFError)) and _was_raised_in(error, "dataloader.py"):
        return (
            f"DataLoader worker is gone in the middle of a batch ({text}): the system ended it, mostly for want of "
            "memory (fewer data.num_workers)"
        )
    if isinstance(error, (ValueError, OSError)) and text.startswith("Caught ") and "in DataLoader worker" in text:
        return text.strip().splitlines()[-1].split(": ", 1)[-1]
    return None


def _was_raised_in(error: Exception, file: str) -> bool:
    return any(os.path.basename(frame.filename) == file for frame in traceback.extract_tb(error.__traceback__))


def _tell(error: Exception | str, report: dict[str, Any], code: int) -> int:
    text = str(error) if isinstance(error, str) else _worker_line(error) or str(error)
    message = " ".join(text.split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = (
            f"no space left on the disk of {report['directory']}; earlier checkpoints are whole, --resume continues"
        )
    report["error"] = message
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    if is_first_process():
        say(message if isinstance(error, str) else f"error: {message}")
    elif not isinstance(error, str) and code != REFUSED:  # what is refused is refused on every rank alike
        say(f"rank {rank}: {message}")
    return code


def _list(options: argparse.Namespace, report: dict[str, Any]) -> int:
    for paper in list_papers():
        title, presets = PAPERS[paper].title, list_presets(paper)
        report[paper] = {"title": title, "presets": presets}
        if not options.json:
            print(f"{paper}  {title}")
            width = max(map(len, presets), default=0)
            for preset, about in presets.items():
                print(f"  --preset {preset:<{width}}  {about}")
    return 0


def _print_config(config: RunConfig, options: argparse.Namespace, report: dict[str, Any]) -> int:
    import yaml

    from experiments.training.batch_plan import describe, devices_per_node, plan_run

    per_node = devices_per_node(config.trainer)
    plan = plan_run(config, (per_node or 1) * config.trainer.num_nodes)
    optimizer = plan.optimizer(config.optimizer)
    steps = plan.in_steps(config.trainer.max_steps, config.optimizer)
    report["config"] = to_plain(config)
    report["step"] = {
        "samples": plan.samples_per_step,
        "devices": plan.devices,
        "batch_size": plan.batch_size,
        "accumulate": plan.accumulate,
        "lr": optimizer.lr,
        "warmup_steps": optimizer.warmup_steps,
        "max_steps": steps,
    }
    if not options.json:
        unknown = f"; trainer.devices={config.trainer.devices} counted as 1" if per_node is None else ""
        first = f"# {describe(plan, config.optimizer)}{unknown}"
        print(f"{first}\n{yaml.safe_dump(report['config'], sort_keys=False)}", end="")
    return 0


def _claim_stdout() -> int:
    """Send whatever is printed, by this process and those it starts, to stderr; returns the real stdout."""
    sys.stdout.flush()
    answer = os.dup(1)
    os.set_inheritable(answer, False)
    os.dup2(2, 1)
    return answer


def parser() -> argparse.ArgumentParser:
    """The command line of this program; ``experiments.ablation`` takes the same arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--paper", help=f"one of {', '.join(list_papers())}")
    parser.add_argument("--preset", help="a named variation of the recipe; --list shows them")
    parser.add_argument("--name", help="of the run's folder; else made of preset and configuration")
    parser.add_argument("--resume", action="store_true", help="continue this run if it is there, else start it")
    parser.add_argument("--list", action="store_true", help="papers and presets")
    parser.add_argument("--print-config", action="store_true", help="the resolved configuration, and stop")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, all else on stderr")
    parser.add_argument("--traceback", action="store_true", help="show where an error was raised")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="any key of --print-config")
    return parser


if __name__ == "__main__":
    run_program(main)
