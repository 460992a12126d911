"""DataLoader workers that a signal to the whole process group does not end: only their parent ends them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children, get_start_method, parent_process, resource_tracker
from typing import Any

from torch.utils.data import DataLoader

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""What a terminal (Ctrl-C), a scheduler or ``scancel --full`` sends to every process of a run."""


class WorkerLoader(DataLoader[Any]):
    """A DataLoader whose workers start with ``SIGNALS`` held, whatever the start method.

    Its ``worker_init_fn`` must call ``heed_only_the_parent``.
    """

    def __iter__(self) -> Any:
        if self.num_workers == 0:
            return super().__iter__()
        with signals_held(starts_tracker=_start_method(self) != "fork"):
            return super().__iter__()


@contextmanager
def signals_held(*, starts_tracker: bool = False) -> Iterator[None]:
    """Keep ``SIGNALS`` from this thread and from every process it starts meanwhile; afterwards it receives them.

    A child process inherits the mask, over ``exec`` too, so no signal finds it before it has set itself up.

    Args:
        starts_tracker: start Python's resource tracker first. Its start would end the hold of SIGINT and SIGTERM.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        if starts_tracker:
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_only_the_parent() -> None:
    """Ignore SIGINT and SIGUSR1 in this worker; end quietly on SIGTERM if the parent process sent it or has ended.

    A run that is asked to stop still needs batches up to the end of its step, so SIGTERM to the whole group must not
    end its workers. The DataLoader itself sends SIGTERM to workers it has no more use for.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None, "not a worker"
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def kill_workers() -> None:
    """End the workers of this process, also one that hangs, which would be waited for when this process ends.

    Call it in the main thread. The DataLoader would raise a RuntimeError about the workers killed here.
    """
    heard = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for worker in active_children():
        worker.kill()
        worker.join(5.0)
    signal.signal(signal.SIGCHLD, heard or signal.SIG_DFL)


def _end_with(parent: Any) -> None:
    """Ends this process when ``parent`` sends SIGTERM or has gone.

    Args:
        parent: multiprocessing's own handle, which also knows of a parent that went before this worker could ask;
            ``os.getppid`` names another process by then.
    """
    sender = None
    while sender != parent.pid and parent.is_alive():
        # Woken every second: a parent that is killed sends nothing, and a worker that writes to it would wait forever.
        received = signal.sigtimedwait({signal.SIGTERM}, 1.0)
        sender = None if received is None else received.si_pid
    os._exit(0)


def _start_method(loader: DataLoader[Any]) -> str:
    context: Any = loader.multiprocessing_context
    return str(context.get_start_method() if context is not None else get_start_method())
