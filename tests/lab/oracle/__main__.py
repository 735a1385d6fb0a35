"""Hold conversations with a live QEMU and with us and tell what they brought; fail at a difference without a rule."""

import argparse
import logging
import secrets
import sys
from collections import Counter
from collections.abc import Iterable

from tests.lab.oracle.ground import LIMITS
from tests.lab.oracle.phrases import KINDS
from tests.lab.oracle.qemu import QemuError
from tests.lab.oracle.rules import RULES
from tests.lab.oracle.run import Bench, Tally, tally
from tests.lab.oracle.tools import MissingToolsError, build, find_tools

SEED = "8254 8259 16550 ATA"
"""The seed that is used unless another one is given: the run is the same each time."""

COMMANDS = 200_000
"""Commands in all."""


def main() -> int:
    """Run, and return the exit status: 0 done or skipped, 1 a difference or a missing tool."""
    given = _arguments()
    logging.disable(logging.WARNING)
    try:
        version = find_tools()
        bench = Bench(*build())
    except MissingToolsError as exc:
        print(f"skipped: {exc}" if given.allow_skip else f"no oracle: {exc}", file=sys.stderr)
        return 0 if given.allow_skip else 1
    seed = secrets.token_hex(8) if given.seed == "random" else given.seed
    kinds = given.device or KINDS
    print(f"QEMU {version}; seed {seed!r}; {given.commands:,} commands", flush=True)
    try:
        tallies = [_tallied(bench, kind, seed, given.commands // len(kinds)) for kind in kinds]
    except QemuError as exc:
        print(f"QEMU: {exc}", file=sys.stderr)
        return 1
    _tell_rules(tallies)
    differs = [each for each in tallies if each.trace]
    for each in differs:
        print(f"\nunexplained, in {each.kind}, as a trace:\n{each.trace}")
    unused = _unused(tallies) if (given.seed, given.commands, tuple(kinds)) == (SEED, COMMANDS, KINDS) else []
    for name in unused:
        print(f"{name} was not needed in a whole run: remove it, or let a phrase need it")
    return 1 if differs or unused else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.oracle", description=__doc__)
    parser.add_argument("--seed", default=SEED, help="any text, or `random` (default: %(default)r)")
    parser.add_argument("--commands", type=int, default=COMMANDS, help="in all (default: %(default)s)")
    parser.add_argument("--device", action="append", choices=KINDS, help="only this kind (may be repeated)")
    parser.add_argument("--allow-skip", action="store_true", help="succeed where QEMU or a tool is missing")
    return parser.parse_args()


def _tallied(bench: Bench, kind: str, seed: str, commands: int) -> Tally:
    result = tally(bench, kind, seed, commands, lambda text: print(text, flush=True))
    print(
        f"{kind:7}{result.commands:8,} commands ({result.plain:,} of the protocol), "
        f"{result.conversations} conversations, {result.excused.total():,} differences explained, "
        f"{1 if result.trace else 0} unexplained, {result.held_back.total():,} held back; "
        f"{result.commands / result.seconds:,.0f} commands/s",
        flush=True,
    )
    return result


def _tell_rules(tallies: Iterable[Tally]) -> None:
    excused: Counter[str] = sum((each.excused for each in tallies), Counter())
    held_back: Counter[str] = sum((each.held_back for each in tallies), Counter())
    print("\ndifferences explained, by rule")
    for rule in RULES:
        said = f"QEMU: {rule.qemu}; here: {rule.here} ({rule.reason})"
        print(f"{excused[rule.name]:8,}  {rule.device:7}{rule.name}: {said}")
    print("\ncommands held back, by limit of the common ground")
    for limit in LIMITS:
        print(f"{held_back[limit.name]:8,}  {limit.device:7}{limit.name}: QEMU: {limit.qemu} ({limit.reason})")


def _unused(tallies: Iterable[Tally]) -> list[str]:
    used = {name for each in tallies for name in (*each.excused, *each.held_back)}
    return [each.name for each in (*RULES, *LIMITS) if each.name not in used]


if __name__ == "__main__":
    sys.exit(main())
