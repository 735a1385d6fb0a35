"""The rows on hostile files and on fuzzing come from runs, and a broken promise is shown as broken."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.attacks.all import ATTACKS, Level
from tests.lab.fuzz import results
from tests.lab.fuzz.results import Result, Run
from tests.lab.reliability import attacks, fuzz
from tests.lab.reliability.served import BrokenError
from tests.lab.reliability.tally import skipped_row
from tests.support.large import FILES, PROMISED


@pytest.mark.long
def test_every_hostile_file_is_counted_at_each_entrance(tmp_path: Path) -> None:
    refused, shown = attacks.rows(tmp_path, sample=True)
    assert refused.held, refused.outcome
    assert refused.count == 2 * len(ATTACKS)
    assert shown.held, shown.outcome
    assert shown.count == 4 * len(FILES)


def test_a_file_that_takes_too_much_to_show_breaks_the_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in ((0, PROMISED), (4, 0)):
        monkeypatch.setattr(attacks, "cost", lambda *_, answer=answer: answer)
        with pytest.raises(BrokenError):
            attacks._shown(tmp_path, ["inspect"], [])


GOOD = {"attack": 0, "status": 4, "said": ATTACKS[0].message, "memory": 0, "cpu": 0.0}


def test_a_refusal_is_told() -> None:
    assert attacks._judged("verify", GOOD, Level.OPEN) == "refused"
    assert attacks._judged("list", {**GOOD, "status": 0}, Level.OPEN) == "listed with the problem"
    assert attacks._judged("inspect", {**GOOD, "status": 0}, Level.PIECE) == "not read so far"


@pytest.mark.parametrize(
    "change",
    [{"status": 0}, {"said": "other"}, {"said": "Traceback"}, {"memory": 1 << 30}, {"cpu": 3.0}, {"status": -9}],
    ids=str,
)
def test_what_was_not_promised_breaks_the_promise(change: dict[str, object]) -> None:
    with pytest.raises(BrokenError):
        attacks._judged("verify", {**GOOD, **change}, Level.OPEN)
    with pytest.raises(BrokenError):
        attacks._judged("inspect", GOOD, Level.PIECE)


def test_the_states_are_counted() -> None:
    row = fuzz._states(1)
    assert row.held, row.outcome
    assert row.count >= 10


RESULT = Result("codec", 5, 7, 1, 1, 1, 60, ())
RUN = Run("fresh", 1800, 1, ("codec", "device-pit"), "digest", ended=True, results=(RESULT,))


def test_a_row_tells_the_run_that_it_comes_from() -> None:
    found = replace(RESULT, target="device-pit", findings=("crash-1",))
    codec, device = fuzz._make_rows(replace(RUN, corpus="kept", results=(RESULT, found)))
    assert (codec.count, codec.held) == (7, True)
    assert (device.count, device.held) == (7, False)
    assert codec.tried.endswith("1 targets of a run of 1,800 s over 2, 1 at a time, from the kept corpus (atheris)")
    assert codec.outcome == "0 findings in 5 s; at most 60 MB, the interpreter's own included"
    assert device.outcome == "1 findings: crash-1 in 5 s; at most 60 MB, the interpreter's own included"
    assert "from a fresh corpus" in fuzz._make_rows(RUN)[0].tried


def test_a_target_that_nothing_was_given_to_is_no_promise_held() -> None:
    assert not fuzz._make_rows(replace(RUN, results=(RESULT, replace(RESULT, target="snapshot", executions=0))))[0].held


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fuzz, "FOLDER", tmp_path)
    monkeypatch.setattr(fuzz, "find_spec", lambda _: object())
    monkeypatch.setattr(fuzz, "targets", lambda: {"codec": None})
    monkeypatch.setattr(fuzz, "_states", lambda _: skipped_row("a", "b", "c"))
    monkeypatch.setattr(fuzz, "_run", lambda *_: replace(RUN, results=(replace(RESULT, executions=99),)))
    return tmp_path


def test_the_last_run_of_the_fuzzer_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results.write(folder, replace(RUN, sources=results.digest()))
    assert [row.count for row in fuzz.rows(folder, sample=False)] == [7, 0]
    monkeypatch.setattr(fuzz, "find_spec", lambda _: None)
    assert [row.outcome for row in fuzz.rows(folder, sample=False)] == [
        "not tried: atheris is not installed: make fuzz",
        "not tried: c",
    ]


def test_where_no_run_tells_of_this_code_the_fuzzer_runs_anew(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    this = replace(RUN, sources=results.digest())
    for run, why in (
        (None, "there are no results"),
        (RUN, "the last run of the fuzzer was of other code"),
        (replace(this, ended=False), "the last run of the fuzzer did not come to its end"),
        (replace(this, results=()), "the last run of the fuzzer left out codec"),
    ):
        if run is not None:
            results.write(folder, run)
        assert [row.count for row in fuzz.rows(folder, sample=False)] == [99, 0]
        assert why in capsys.readouterr().out


def test_reliability_waits_for_a_run_of_the_fuzzer_that_has_not_ended(folder: Path) -> None:
    counts: list[int] = []
    waiting = threading.Thread(target=lambda: counts.append(fuzz.rows(folder, sample=False)[0].count))
    with results.locked(folder, wait=False):
        waiting.start()
        results.write(folder, replace(RUN, sources=results.digest(), ended=True))
        assert counts == []
    waiting.join()
    assert counts == [7]
