import pytest

from tests.lab.reliability.served import BrokenError
from tests.lab.reliability.tally import Tally, skipped_row


def test_outcomes_are_counted_and_one_broken_promise_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    tally.attempt("a", lambda: "absent")
    tally.attempt("b", lambda: "absent")
    tally.attempt("never reached", lambda: None)
    row = tally.row("promise", "tried", restic="the same")
    assert (row.count, row.outcome, row.held, row.restic) == (2, "2 absent", True, "the same")

    def fail() -> str:
        raise BrokenError("lost")

    tally.attempt("c", fail)
    row = tally.row("promise", "tried")
    assert (row.count, row.outcome, row.held) == (3, "1 broke it; c: lost; 2 absent", False)
    assert "broken by c: lost" in capsys.readouterr().out


def test_a_promise_that_nothing_tried_to_break_did_not_hold() -> None:
    assert not Tally().row("promise", "tried").held


def test_what_is_skipped_says_why() -> None:
    row = skipped_row("promise", "tried", "no strace")
    assert (row.count, row.outcome, row.held) == (0, "not tried: no strace", True)
