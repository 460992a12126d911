"""A row that differs from another in its test only: that one's checkpoint, tested as this row says.

    python -m experiments.ablation.tested_row RUN --paper PAPER --name NAME [--preset NAME] [key=value …]

Takes a finished run's folder and what experiments.run takes for this row, and leaves config.yaml, predictions.json and
a result.json that names the checkpoint, as a run of its own would.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from experiments.command_line import FAILED, answer
from experiments.config import ConfigError, RunConfig, compose, flatten, to_plain
from experiments.run import parser
from experiments.schema import TEST_KEYS, is_among
from experiments.tables.overrides import as_text


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    source, *rest = arguments
    options = parser().parse_intermixed_args(rest)
    return answer(lambda report: _run(Path(source), options), as_json=False, on_os_error=FAILED)


def _run(source: Path, options: argparse.Namespace) -> int:
    config = compose(options.paper, options.preset, [*options.overrides, f"name={options.name}"])
    from experiments.training.run_directory import open_run_directory, write_config

    directory, _ = open_run_directory(config, resume=True)
    write_config(directory, config)
    state = "failed"
    try:
        retest(source, config, directory.path)
        state = "finished"
    finally:
        directory.note(state)
    return 0


def retest(source: Path, config: RunConfig, folder: Path) -> Path:
    """Test the checkpoint of the finished run ``source`` under ``config`` and write ``result.json`` into ``folder``.

    Raises:
        ValueError: the run is not finished, its checkpoint cannot be used, or the data cannot.
    """
    from experiments.quiet import quieten

    quieten()
    from callbacks.run_record import RunRecord
    from datamodules.coco import CocoDataModule
    from experiments.checkpoint import load_trained
    from experiments.evaluation.checkpoint import run_model
    from experiments.evaluation.protocol import protocol_name

    record = RunRecord(folder, {"paper": config.paper, "config": to_plain(config)})
    try:
        result: dict[str, Any] = json.loads((source / "result.json").read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{source}: no finished run ({error})") from error
    file = source / result["checkpoint"]
    changes = [
        f"{key}={as_text(value)}" for key, value in flatten(to_plain(config)).items() if is_among(key, TEST_KEYS)
    ]
    trained = load_trained(file, changes, paper=config.paper)._replace(config=config)
    data = CocoDataModule(config.data, trained.skeleton, config.seed)
    data.prepare_data()
    data.setup("validate")
    evaluation = run_model(trained, data, folder / "predictions.json")
    return record.write(
        protocol=protocol_name(config, evaluation.num_images),
        figures=evaluation.figures,
        name=folder.name,
        preset=config.preset,
        checkpoint=str(file),
        train=result["train"],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
