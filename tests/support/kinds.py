"""Marks the tests that start processes or run guests, by what their modules import, and holds `make quick` to it."""

import multiprocessing
import subprocess
import sys
from collections.abc import Generator
from typing import Final

import pytest

STARTERS: Final = (subprocess, multiprocessing)
MODULES_THAT_START: Final = (
    *("tests.support.processes", "tests.chkpt.cli.terminals", "tests.chkpt.cli.looking", "tests.lab.reliability.held"),
    *("tests.live_qemu.twins", "tests.support.pages", "chkpt.cli.demo.stage", "chkpt.prove.lockstep"),
)
MODULES_WITH_GUESTS: Final = ("tests.guests", "chkpt.prove.cpu", "chkpt.machine.cpu.unicorn")
FOLDERS_WITH_GUESTS: Final = ("tests/guests", "tests/devices/guests", "tests/chkpt/machine/cpu")
STARTS: Final = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.spawn"}


def imports(module: object, *names: str) -> bool:
    """Return whether a module has something in it that comes from one of the named modules."""
    origins = {getattr(value, "__module__", None) or "" for value in vars(module).values()}
    return any(origin == name or origin.startswith(f"{name}.") for origin in origins for name in names)


def mark(item: pytest.Function) -> None:
    """Mark a test `process` or `guest` if its module imports what starts or runs one."""
    if any(value in STARTERS for value in vars(item.module).values() if isinstance(value, type(sys))) or imports(
        item.module, *MODULES_THAT_START
    ):
        item.add_marker("process")
    if item.nodeid.startswith(FOLDERS_WITH_GUESTS) or imports(item.module, *MODULES_WITH_GUESTS):
        item.add_marker("guest")


class NoProcesses:
    """A plugin that fails a test that starts a process or loads the processor's engine after all."""

    def __init__(self) -> None:
        self._testing = False
        sys.addaudithook(self._forbid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Forbid both while a test runs, its fixtures included."""
        self._testing = True
        try:
            return (yield)
        finally:
            self._testing = False

    def _forbid(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._testing and (event in STARTS or (event == "import" and arguments[0] == "unicorn")):
            raise RuntimeError(f"{event} in a test that tests/support/kinds.py does not mark")
