"""Asks SLURM to run this job again. Imports no torch."""

from __future__ import annotations

import os
import subprocess
import time

WAIT = 60.0
"""Seconds that the other ranks leave rank 0 to ask for the requeue, which ends them."""


def is_slurm_job() -> bool:
    """Whether ``srun`` started this process as a part of a batch job."""
    return "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in (None, "bash", "interactive")


def requeue() -> str:
    """Put this job back into the queue, which ends it; call it on rank 0, as the last thing a process does.

    Returns:
        One line that says what became of it.
    """
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        return f"SLURM job {job} cannot be requeued ({error}); submit it again to continue"
    if done.returncode:
        why = " ".join((done.stderr or done.stdout).split()) or f"scontrol ended with {done.returncode}"
        return f"SLURM job {job} cannot be requeued ({why}); submit it again to continue"
    return f"SLURM job {job} is requeued"


def end_interrupted_task(*, is_first: bool) -> str | None:
    """What a task does last once SIGUSR1 has ended its training: rank 0 requeues the job, the others wait for it.

    They would else be the first to end, and ``srun --kill-on-bad-exit`` would end rank 0 before it has asked.

    Returns:
        On rank 0 one line for the user.
    """
    if is_first:
        return requeue()
    time.sleep(WAIT)
    return None
