"""The table of the files and what is left in them."""

from collections.abc import Sequence

from tests.lab.mutation.equivalents import Equivalent, is_alike
from tests.lab.mutation.results import Mutant, mutants_of


def report(files: Sequence[str], equivalents: Sequence[Equivalent]) -> bool:
    """Print what became of each file's mutants. Return whether none is left and no equivalent is stale."""
    known = {(*each.key, now) for each in equivalents for now in each.now}
    left: list[Mutant] = []
    stale: list[str] = []
    total = [0, 0, 0, 0, 0]
    print(f"{'':30}{'mutants':>9}{'killed':>9}{'timed out':>11}{'equivalent':>12}{'survived':>10}{'score':>9}")
    for file in files:
        mutants = list(mutants_of(file))
        survivors = [each for each in mutants if each.survived]
        lasting = [each for each in survivors if (*each.key, each.now) not in known and not is_alike(each)]
        killed, timed_out = sum(each.killed for each in mutants), sum(each.timed_out for each in mutants)
        row = [len(mutants), killed, timed_out, len(survivors) - len(lasting), len(lasting)]
        if mutants:
            _print_row(file, row)
        total = [a + b for a, b in zip(total, row, strict=True)]
        left += lasting
        stale += [line for each in equivalents if each.file == file for line in each.stale(mutants)]
    _print_row("all", total)
    for mutant in left:
        print(f"\n{mutant.file} {mutant.function}\n  - {mutant.was}\n  + {mutant.now}")
    for line in stale:
        print(f"\nstale equivalent: {line}")
    return not left and not stale


def _print_row(what: str, row: Sequence[int]) -> None:
    mutants, killed, timed_out, equivalent, survived = row
    score = f"{(killed + timed_out) / (mutants - equivalent):.1%}" if mutants > equivalent else ""
    print(f"{what:30}{mutants:9}{killed:9}{timed_out:11}{equivalent:12}{survived:10}{score:>9}")
