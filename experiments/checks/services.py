"""Data, Weights & Biases and SLURM."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from callbacks.wandb_mode import default_mode
from experiments.checks.finding import Finding, State

_PREFIX = "person_keypoints_"


def data_root(root: Path | None) -> list[Finding]:
    """The folder in COCO's layout: annotation files, and as many photographs as each of them names."""
    if root is None:
        fix = "python -m experiments.data download --root data/coco, then give --data data/coco"
        return [Finding("data", State.absent, "no --data given; demo and smoke presets render people", fix)]
    if not root.is_dir():
        return [Finding("data", State.wrong, f"{root}: no such folder", "correct --data")]
    files = sorted((root / "annotations").glob(f"{_PREFIX}*.json"))
    if not files:
        fix = f"python -m experiments.data download --root {root}"
        return [Finding("data", State.wrong, f"{root}: no annotations/{_PREFIX}<split>.json", fix)]
    return [_split(root, file) for file in files]


def weights_and_biases() -> Finding:
    """Online where someone is logged in; offline is no fault."""
    mode = default_mode()
    if mode == "online":
        return Finding("W&B", State.ok, "a key is there; runs are logged online")
    chosen = os.environ.get("WANDB_MODE")
    if chosen:
        return Finding("W&B", State.absent, f"{mode}, by WANDB_MODE={chosen}", "unset WANDB_MODE to log online")
    return Finding("W&B", State.absent, "offline: nobody is logged in", "wandb login; wandb sync sends earlier runs")


def slurm() -> Finding:
    """The partitions, where ``sinfo`` is there and answers; that it must only matters within a job."""
    job = os.environ.get("SLURM_JOB_ID")
    state = State.wrong if job else State.absent
    if shutil.which("sinfo") is None:
        return Finding("SLURM", State.absent, "no sinfo on this machine")
    try:
        answer = subprocess.run(["sinfo", "--noheader", "-o", "%R %a"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("SLURM", state, f"sinfo does not answer ({type(error).__name__})", "ask for slurmctld")
    if answer.returncode:
        line = (answer.stderr.strip().splitlines() or ["sinfo failed"])[0]
        return Finding("SLURM", state, line, "needed for sbatch only: try a login node, or ask for slurmctld")
    partitions = ", ".join(line.split()[0] for line in answer.stdout.splitlines() if line.endswith(" up"))
    return Finding("SLURM", State.ok, f"partitions {partitions or 'none up'}" + (f"; in job {job}" if job else ""))


def _split(root: Path, file: Path) -> Finding:
    split = file.stem.removeprefix(_PREFIX)
    name = f"data {split}"
    again = f"python -m experiments.data download --root {root}"
    try:
        images = json.loads(file.read_bytes())["images"]
        wanted = {str(image["file_name"]) for image in images}
    except (OSError, ValueError, KeyError, TypeError):
        return Finding(name, State.wrong, f"{file}: not readable as COCO annotations", again)
    folder = root / split
    if not folder.is_dir():
        return Finding(name, State.wrong, f"{folder}: no such folder for {len(wanted)} photographs", again)
    there = wanted & {entry.name for entry in os.scandir(folder)}
    found = f"{len(there):,} of {len(wanted):,} photographs"
    if there == wanted:
        return Finding(name, State.ok, found)
    return Finding(name, State.wrong, f"{found}; {min(wanted - there)} is missing", again)
