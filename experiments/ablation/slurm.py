"""A table's runs as one SLURM job array."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from experiments.ablation.jobs import ROOT
from experiments.ablation.plan import Job
from experiments.merging import ConfigError


def array_script(jobs: list[Job], name: str, options: list[str], folder: Path) -> str:
    """The text of the ``sbatch`` file: one array task per job, each resumed when it is requeued.

    Args:
        options: of ``sbatch``, as ``--gres=gpu:8``.
        folder: where the tasks' output goes.
    """
    for option in options:
        if not re.fullmatch(r"-[-\w]+([= ]\S.*)?", option) or "\n" in option:
            raise ConfigError(f"--sbatch {option!r}: give one option of sbatch, as --sbatch=--gres=gpu:1")
    header = [
        f"--job-name={name}",
        f"--array=0-{len(jobs) - 1}",
        f"--output={folder}/%x-%A_%a.log",
        "--open-mode=append",
        "--requeue",
        "--signal=USR1@120",
        *options,
    ]
    commands = [shlex.join([sys.executable, "-m", "experiments.run", *job.arguments, "--resume"]) for job in jobs]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in header),
        "set -euo pipefail",
        f"cd {shlex.quote(str(Path.cwd()))}",
        f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}",
        'case "$SLURM_ARRAY_TASK_ID" in',
        *(f"{index}) exec srun {command} ;;" for index, command in enumerate(commands)),
        "esac",
    ]
    return "\n".join(lines) + "\n"


def submit(file: Path) -> str:
    """Hand the script to SLURM; returns what ``sbatch`` said.

    Raises:
        ConfigError: there is no ``sbatch`` here, or it refused.
    """
    if shutil.which("sbatch") is None:
        raise ConfigError(f"there is no sbatch here; on a machine of the cluster run: sbatch {file}")
    done = subprocess.run(["sbatch", str(file)], capture_output=True, text=True)
    if done.returncode != 0:
        raise ConfigError(f"sbatch refused {file}: {' '.join(done.stderr.split())}")
    return done.stdout.strip()
