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
    """The text of the ``sbatch`` file: one array task per job, each continued when it is requeued.

    A task is one process on one node unless ``options`` say otherwise; as many processes as a node has tasks train
    together.

    Args:
        options: of ``sbatch``, as ``--gpus-per-node=8``; they win over the script's own.
        folder: where the tasks' output goes.

    Raises:
        ConfigError: something that is no option.
    """
    for option in options:
        if not re.fullmatch(r"--[-\w]+(=\S+)?", option):
            raise ConfigError(f"--sbatch {option!r}: give one option of sbatch, as --sbatch=--gpus-per-node=1")
    own = [
        f"--job-name={name}",
        f"--array=0-{len(jobs) - 1}",
        f"--output={folder}/%x-%A_%a.log",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--open-mode=append",
        "--requeue",
        "--signal=SIGUSR1@90",
    ]
    given = {option.partition("=")[0] for option in options}
    header = [*(option for option in own if option.partition("=")[0] not in given), *options]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in header),
        "set -euo pipefail",
        f"cd {shlex.quote(str(Path.cwd()))}",
        f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}",
        "export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}",
        f"run=(srun --kill-on-bad-exit=1 {shlex.quote(sys.executable)} -m experiments.run)",
        "machine=(trainer.devices=$SLURM_NTASKS_PER_NODE trainer.num_nodes=$SLURM_JOB_NUM_NODES)",
        'case "$SLURM_ARRAY_TASK_ID" in',
        *(
            f'{index}) exec "${{run[@]}}" {shlex.join([*job.arguments, "--resume"])} "${{machine[@]}}" ;;'
            for index, job in enumerate(jobs)
        ),
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
