"""A bar on the terminal while a machine saves or loads; nothing where nobody looks, or where it is done at once."""

import sys
from collections.abc import Callable
from threading import Event, Thread
from typing import Final, TypeVar

from chkpt.errors import ChkptError
from chkpt.service.client import MachineClient

T = TypeVar("T")

AFTER: Final = 0.3
"""Seconds that a request may take before there is a bar."""

EVERY: Final = 0.1
"""Seconds between two looks at the machine."""

PATIENCE: Final = 0.5
"""Seconds that the machine may take to tell. While its RAM is copied it does not; Ctrl-C waits no longer than this."""


def watched(machine: MachineClient, what: str, call: Callable[[], T], *, quiet: bool) -> T:
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


def _show(machine: MachineClient, what: str, over: Event) -> None:
    if over.wait(AFTER):
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    # Drawn here and not by rich's own thread, which outlives the bar: rich does not wait for its end.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task(f"{what} {machine.name}", total=None)
        while not over.wait(EVERY):
            done, total = _done(machine, what)
            if total:
                bar.update(task, completed=done, total=total)
            bar.refresh()


def _done(machine: MachineClient, what: str) -> tuple[int, int]:
    """Return the bytes done and all of them, 0 where the machine does not tell."""
    try:
        work = [each for each in machine.machine(PATIENCE)["work"] if each["what"] == what]
    except ChkptError:
        return 0, 0
    return (work[-1]["done"], work[-1]["total"]) if work else (0, 0)
