"""What to install for what a plain installation lacks: the hints of all messages, in one place."""

from typing import Final

DISTRIBUTION: Final = "chkpt-machines"
"""Our name on the package index. The package `chkpt` there is another project (docs/decisions/0031)."""

UNICORN: Final = "unicorn==2.1.4"
"""The one release whose layout of registers `chkpt.machine.cpu.unicorn_context` knows."""


def install(extra: str) -> str:
    """Return the command that installs an extra. Our distribution is there already: pip adds what is missing."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
