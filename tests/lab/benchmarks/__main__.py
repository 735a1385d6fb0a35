"""Print every figure as a table."""

import argparse
import logging
import sys
from collections.abc import Callable

from tests.lab.benchmarks.commands import commands
from tests.lab.benchmarks.conversation import conversation
from tests.lab.benchmarks.devices import memory, ports
from tests.lab.benchmarks.durable import durable
from tests.lab.benchmarks.figure import Figure
from tests.lab.benchmarks.firmware import firmware
from tests.lab.benchmarks.guest import guest
from tests.lab.benchmarks.images import images
from tests.lab.benchmarks.kernel import kernel
from tests.lab.benchmarks.whole import whole

GROUPS: dict[str, Callable[[], list[Figure]]] = {
    "memory": memory,
    "durable": durable,
    "images": images,
    "ports": ports,
    "qtest": conversation,
    "commands": commands,
    "guest": guest,
    "firmware": firmware,
    "kernel": kernel,
    "whole": whole,
}


def main() -> None:
    """Run the groups named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)} (default: all)")
    groups = parser.parse_args().groups
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"{', '.join(sorted(unknown))}: there is no such group")
    logging.disable(logging.WARNING)
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "median", "middle half", "target", "", "beside it", title="chkpt, this machine, this run")
    for name in groups or GROUPS:
        for each in GROUPS[name]():
            middle = f"{each.low:,.4g} - {each.high:,.4g}"
            verdict = {True: "met", False: "missed", None: ""}[each.met]
            median = f"{each.median:,.4g} {each.unit}" if each.median < 10_000 else f"{each.median:,.0f} {each.unit}"
            table.add_row(each.what, median, middle, each.target, verdict, each.baseline)
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 180).print(table)


main()
