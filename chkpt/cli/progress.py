"""A progress bar on the terminal. There is none if stderr is not a terminal, or if the work is short."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Final, TypeVar

from chkpt.cli.output import escape
from chkpt.errors import ChkptError

if TYPE_CHECKING:
    from rich.progress import Progress

    from chkpt.service.http.client import MachineClient

T = TypeVar("T")

AFTER: Final = 0.3
"""Seconds before the bar appears."""

EVERY: Final = 0.1
"""Seconds between two updates of a bar."""

PATIENCE: Final = 0.5
"""Seconds to wait for the machine's answer, which does not come while it copies RAM. Ctrl-C waits as long."""


def call_with_bar(machine: "MachineClient", what: str, call: Callable[[], T], *, quiet: bool) -> T:
    """Call `call` and return its result; meanwhile show a bar.

    `call` makes `machine` save or load; `what` is "save" or "load". Nothing is shown if `quiet`, or if stderr is not a
    terminal.
    """
    if quiet or not sys.stderr.isatty():
        return call()
    over = Event()
    thread = Thread(target=_draw_until, args=(machine, what, over), daemon=True)
    thread.start()
    try:
        return call()
    finally:
        over.set()
        thread.join()


@contextmanager
def bar(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while this process does `what`; yield the function to call with the bytes done and the total.

    The bar disappears at the end of the block. Nothing is shown if `quiet`, or if stderr is not a terminal.
    """
    shown: list[Progress] = []
    due = time.monotonic() + AFTER

    def progress(done: int, total: int) -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + EVERY
        if not shown:
            shown.append(_make_bar(what))
            shown[0].start()
        shown[0].update(shown[0].task_ids[0], completed=done, total=total, refresh=True)

    try:
        yield progress if not quiet and sys.stderr.isatty() else lambda _done, _total: None
    finally:
        for each in shown:
            each.stop()


def _make_bar(what: str) -> "Progress":
    """Return a bar that is drawn only when it is refreshed: a thread of rich would outlive it."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    progress.add_task(escape(what), total=None)
    return progress


def _draw_until(machine: "MachineClient", what: str, over: Event) -> None:
    if over.wait(AFTER):
        return
    with _make_bar(f"{what} {machine.name}") as shown:
        while not over.wait(EVERY):
            done, total = _ask_machine(machine, what)
            if total:
                shown.update(shown.task_ids[0], completed=done, total=total)
            shown.refresh()


def _ask_machine(machine: "MachineClient", what: str) -> tuple[int, int]:
    """Return the bytes done and the total, 0 and 0 if the machine does not answer."""
    try:
        work = [each for each in machine.machine(PATIENCE)["work"] if each["what"] == what]
    except ChkptError:
        return 0, 0
    return (work[-1]["done"], work[-1]["total"]) if work else (0, 0)
