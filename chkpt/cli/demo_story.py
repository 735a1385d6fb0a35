"""How `chkpt demo` tells its story."""

import sys

from chkpt.cli.output import plain, show


def tell(line: str, seconds: float | None = None) -> None:
    """Show one line of the story with a tick, where the output has one."""
    tick = "\N{CHECK MARK}" if (sys.stdout.encoding or "").lower().startswith("utf") else "+"
    show(f"{tick} {plain(line)}" + ("" if seconds is None else f", {seconds:.2f} s"))
