"""A bar on the terminal for what takes long; nothing if stderr is not one, or if it is done at once."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Final, TypeVar

from chkpt.cli.output import plain
from chkpt.errors import ChkptError

if TYPE_CHECKING:
    from rich.progress import Progress

    from chkpt.service.http.client import MachineClient

T = TypeVar("T")

AFTER: Final = 0.3
"""Seconds that something may take before there is a bar."""

EVERY: Final = 0.1
"""Seconds between two states of a bar."""

PATIENCE: Final = 0.5
"""Seconds that the machine may take to tell. While its RAM is copied it does not; Ctrl-C waits no longer than this."""


def watched(machine: "MachineClient", what: str, call: Callable[[], T], *, quiet: bool) -> T:
    """Return what `call` returns, which lets `machine` save or load (`what`), and show how far that has come.

    `quiet` shows nothing, and neither does a stderr that is no terminal.
    """
    if quiet or not sys.stderr.isatty():
        return call()
    over = Event()
    thread = Thread(target=_show, args=(machine, what, over), daemon=True)
    thread.start()
    try:
        return call()
    finally:
        over.set()
        thread.join()


@contextmanager
def bar(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield what is to be called with the bytes done and all of them while this process does `what`.

    The bar is gone at the end of the block. `quiet` shows nothing, and neither does a stderr that is no terminal.
    """
    shown: list[Progress] = []
    due = time.monotonic() + AFTER

    def progress(done: int, total: int) -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + EVERY
        if not shown:
            shown.append(_bar(what))
            shown[0].start()
        shown[0].update(shown[0].task_ids[0], completed=done, total=total, refresh=True)

    try:
        yield progress if not quiet and sys.stderr.isatty() else lambda _done, _total: None
    finally:
        for each in shown:
            each.stop()


def _bar(what: str) -> "Progress":
    """Return a bar that is drawn when it is refreshed, not by a thread of rich, which would outlive it."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    made = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    made.add_task(plain(what), total=None)
    return made


def _show(machine: "MachineClient", what: str, over: Event) -> None:
    if over.wait(AFTER):
        return
    with _bar(f"{what} {machine.name}") as shown:
        while not over.wait(EVERY):
            done, total = _done(machine, what)
            if total:
                shown.update(shown.task_ids[0], completed=done, total=total)
            shown.refresh()


def _done(machine: "MachineClient", what: str) -> tuple[int, int]:
    """Return the bytes done and all of them, 0 where the machine does not tell."""
    try:
        work = [each for each in machine.machine(PATIENCE)["work"] if each["what"] == what]
    except ChkptError:
        return 0, 0
    return (work[-1]["done"], work[-1]["total"]) if work else (0, 0)
