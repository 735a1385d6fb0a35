"""The report on mutants, over results as mutmut leaves them."""

import json
from pathlib import Path

import pytest

from tests.lab.mutation.equivalents import Equivalent, is_alike, table
from tests.lab.mutation.report import report
from tests.lab.mutation.results import Mutant

FILE = "devices/lamp.py"
MUTATED = """\
class Lamp:
    def xǁLampǁ__init____mutmut_orig(self, level: int) -> None:
        self.level = level
    def xǁLampǁ__init____mutmut_1(self, level: int) -> None:
        self.level = None
def x_mixed__mutmut_orig(a, b):
    return mix(
        a,
        b,
    )
def x_mixed__mutmut_1(a, b):
    return mix(
        b,
    )
def x_mixed__mutmut_2(a, b):
    return mix(
        a,
        None,
    )
def x_mixed__mutmut_3(a, b):
    return mix(
        None,
        b,
    )
"""
SPANS = {
    "xǁLampǁ__init____mutmut_orig": [2, 3],
    "xǁLampǁ__init____mutmut_1": [4, 5],
    "x_mixed__mutmut_orig": [6, 10],
    "x_mixed__mutmut_1": [11, 14],
    "x_mixed__mutmut_2": [15, 19],
    "x_mixed__mutmut_3": [20, 24],
}


@pytest.fixture(autouse=True)
def _results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = {
        "devices.lamp.xǁLampǁ__init____mutmut_1": 0,  # survived
        "devices.lamp.x_mixed__mutmut_1": 33,  # no test reaches it
        "devices.lamp.x_mixed__mutmut_2": 1,  # killed
        "devices.lamp.x_mixed__mutmut_3": 36,  # timed out
    }
    (tmp_path / "mutants/devices").mkdir(parents=True)
    (tmp_path / f"mutants/{FILE}").write_text(MUTATED, encoding="utf-8")
    (tmp_path / f"mutants/{FILE}.spans").write_text(json.dumps({"version": 1, "spans": SPANS}))
    (tmp_path / f"mutants/{FILE}.meta").write_text(json.dumps({"exit_code_by_key": statuses}))
    monkeypatch.chdir(tmp_path)


def equivalent(function: str, was: str, *now: str) -> Equivalent:
    return Equivalent(FILE, function, was, frozenset(now), "nobody looks")


KNOWN = equivalent("Lamp.__init__", "self.level = level", "self.level = None")


def test_the_report_counts_and_shows_what_survived(capsys: pytest.CaptureFixture[str]) -> None:
    assert not report([FILE, "devices/never_run.py"], [])
    table, *left = capsys.readouterr().out.split("\n\n")
    assert [line.split() for line in table.splitlines()[1:]] == [
        [FILE, "4", "1", "1", "0", "2", "50.0%"],
        ["all", "4", "1", "1", "0", "2", "50.0%"],
    ]
    assert left == [
        f"{FILE} Lamp.__init__\n  - self.level = level\n  + self.level = None",
        f"{FILE} mixed\n  - a,\n  + \n",
    ]


def test_an_equivalent_is_counted_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([FILE], [KNOWN, equivalent("mixed", "a,", "")])
    assert capsys.readouterr().out.splitlines()[1].split() == [FILE, "4", "1", "1", "2", "0", "100.0%"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (equivalent("Lamp.__init__", "self.level = 0", "self.level = 1"), "no mutant makes 'self.level = 1'"),
        (equivalent("Lamp.__init__", "self.level = level", "self.level = 1"), "no mutant makes 'self.level = 1'"),
        (equivalent("Lamp.reset", "self.level = level", "self.level = None"), "no mutant makes 'self.level = None'"),
        (equivalent("mixed", "b,", "None,"), "a test notices 'None,' in place of 'b,'"),
    ],
)
def test_an_equivalent_that_is_none_is_stale(
    entry: Equivalent, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not report([FILE], [KNOWN, equivalent("mixed", "a,", ""), entry])
    assert f"stale equivalent: {FILE} {entry.function}: {message}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("was", "now", "alike"),
    [
        ('x = cast("int", y)', "x = cast(None, y)", True),
        ('x = cast("int", f(cast("str", y)))', 'x = cast("int", f(cast("XXstrXX", y)))', True),
        ('x = cast("int", y)', 'x = cast("int", None)', False),
        ('x = cast("int", y)', "x = None", False),
        ('x = y.encode("ascii")', 'x = y.encode("ASCII")', True),
        ('x = y.encode("ascii")', 'x = y.encode("XXasciiXX")', False),
        ('x = "a" + y.encode("ascii")', 'x = "A" + y.encode("ascii")', False),
    ],
)
def test_what_python_does_not_look_at_makes_no_difference(was: str, now: str, *, alike: bool) -> None:
    assert is_alike(Mutant(FILE, "mixed", was, now, 0)) is alike


def test_every_equivalent_has_a_reason_and_is_named_once() -> None:
    entries = table()
    assert all(each.because and each.now for each in entries)
    changes = [(*each.key, now) for each in entries for now in each.now]
    assert len(changes) == len(set(changes))
