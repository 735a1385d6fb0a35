"""Each file that breaks a rule of docs/FORMAT.md is refused by the library, with an error of its own."""

import re
from pathlib import Path

import pytest

from chkpt.errors import CorruptError, LimitError, RefusedError, VersionError
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.snapshot import Reader, loads
from tests.attacks.all import ATTACKS, Level, level_of
from tests.attacks.parts import GOOD, MACHINE, Attack

FORMAT = Path(__file__).parents[2] / "docs" / "FORMAT.md"

ADVICE = {
    CorruptError: "; restore it from a copy",
    LimitError: "; chkpt writes no such file, so do not trust it",
    VersionError: "; upgrade chkpt",
}


def numbered() -> list[int]:
    return [int(number) for number in re.findall(r"^\* \*\*R(\d+)\*\* ", FORMAT.read_text("utf-8"), re.MULTILINE)]


def test_the_rules_are_numbered_without_gaps_and_twice_is_none() -> None:
    assert sorted(numbered()) == list(range(1, len(numbered()) + 1))


def test_every_rule_has_an_attack_and_every_attack_a_rule() -> None:
    assert {attack.rule for attack in ATTACKS} == set(numbered())


def test_no_two_attacks_of_one_rule_have_one_name() -> None:
    assert len({str(attack) for attack in ATTACKS}) == len(ATTACKS)


def test_the_file_that_the_attacks_change_is_good() -> None:
    data = GOOD.build()
    Reader(data).verify()
    machine = Machine(parse(MACHINE))
    machine.load(loads(data), strict=True)
    assert machine.clock.now == 5


def read(data: bytes) -> None:
    """Read a file to where its attack is."""
    if level_of(data) is Level.NAMES:
        Machine(parse(MACHINE)).load(loads(data))
    else:
        Reader(data).verify()


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_a_file_that_breaks_a_rule_is_refused_in_few_printable_words(attack: Attack) -> None:
    data = attack.make()
    with pytest.raises(RefusedError) as caught:
        read(data)
    assert attack.message in str(caught.value)
    assert type(caught.value) is attack.error
    if level_of(data) is not Level.NAMES and "not a chkpt snapshot" not in attack.message:
        assert str(caught.value).endswith(ADVICE[attack.error])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1200
