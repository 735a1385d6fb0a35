"""The extras to install for optional features: the hints of all messages, in one place."""

from typing import Final

DISTRIBUTION: Final = "chkpt-machines"
"""The name of this project on the package index. The package `chkpt` there is another project (docs/decisions/0031)."""

UNICORN: Final = "unicorn==2.1.4"
"""The only release whose register layout `chkpt.machine.cpu.unicorn_context` knows."""


def install(extra: str) -> str:
    """Return the command that installs an extra; pip adds only what is missing."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
