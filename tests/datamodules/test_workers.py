"""Signals to a whole process group: the workers go on, whatever the start method and whenever the signal comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from datamodules.workers import SIGNALS, kill_workers, signals_held

ROOT = Path(__file__).parents[2]

PROGRAM = """
import os, signal, sys, time
import torch
from torch.utils.data import Dataset
from datamodules.workers import SIGNALS, WorkerLoader, heed_only_the_parent

class Numbers(Dataset):
    def __len__(self): return 40
    def __getitem__(self, index):
        time.sleep(0.02)
        return index, os.getpid()

def start(worker):
    time.sleep(0.1)  # a signal is certain to come in here too
    heed_only_the_parent()

if __name__ == "__main__":
    received = []
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: received.append(number))
    print("ready", flush=True)
    loader = WorkerLoader(
        Numbers(), batch_size=2, num_workers=2, worker_init_fn=start, multiprocessing_context=sys.argv[1]
    )
    batches = iter(loader)
    workers = list(batches._workers)
    seen = [batch for batch in batches]
    print("done", flush=True)
    sys.stdin.readline()
    for worker in workers:
        worker.join(20)
    print(sorted(torch.cat([numbers for numbers, _ in seen]).tolist()) == list(range(40)))
    print({int(pid) for _, pids in seen for pid in pids} == {worker.pid for worker in workers})
    print([worker.exitcode for worker in workers], set(received) == set(SIGNALS))
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_outlive_signals_to_the_group_from_their_first_moment(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    started = subprocess.Popen(
        [sys.executable, program, method],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    is_done = threading.Event()
    sender = threading.Thread(target=send_all, args=(started.pid, is_done))
    sender.start()
    line = started.stdout.readline()
    is_done.set()
    sender.join()
    stdout, stderr = started.communicate("\n", timeout=300)
    assert (line, stdout, stderr) == ("done\n", "True\nTrue\n[0, 0] True\n", "")


def send_all(group: int, is_done: threading.Event) -> None:
    """Every signal to the whole group, again and again."""
    while not is_done.wait(0.005):
        for number in SIGNALS:
            os.killpg(group, number)


LEFT_ALONE = """
import multiprocessing, os, signal, sys, time
from datamodules.workers import heed_only_the_parent

def work(is_ready):
    if sys.argv[1] == "early":
        is_ready.set()
        while os.getppid() == parent:
            time.sleep(0.01)
    heed_only_the_parent()
    is_ready.set()
    time.sleep(60)

parent = os.getpid()
context = multiprocessing.get_context("fork")
is_ready = context.Event()
worker = context.Process(target=work, args=(is_ready,))
worker.start()
is_ready.wait()
if sys.argv[1] == "parent":
    worker.terminate()
    worker.join(20)
    print(worker.exitcode)
else:
    print(worker.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


RUN = {"text": True, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}


def test_a_worker_ends_quietly_when_its_parent_sends_sigterm() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT_ALONE, "parent"], capture_output=True, timeout=120, **RUN)
    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize("when", ["later", "early"])
def test_a_worker_ends_by_itself_when_its_parent_is_killed(when: str) -> None:
    """Early: before the worker has asked who its parent is."""
    child = subprocess.Popen([sys.executable, "-c", LEFT_ALONE, when], stdout=subprocess.PIPE, **RUN)
    assert child.stdout is not None
    orphan = int(child.stdout.readline())
    child.wait(60)
    end = time.monotonic() + 30
    while _is_running(orphan):
        assert time.monotonic() < end
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except FileNotFoundError:
        return False


def test_what_was_held_arrives_afterwards_and_the_mask_is_as_before() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with signals_held():
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask | set(SIGNALS)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            assert received == []
        assert received == [signal.SIGUSR1]
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_workers_that_hang_are_killed_and_the_loader_says_nothing_of_it() -> None:
    from torch.utils.data import DataLoader

    batches = iter(DataLoader(Hanging(), num_workers=2))
    handler = signal.getsignal(signal.SIGCHLD)
    kill_workers()
    assert [worker.exitcode for worker in batches._workers] == [-signal.SIGKILL] * 2
    assert signal.getsignal(signal.SIGCHLD) == handler


class Hanging:
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        time.sleep(600)
        return index
