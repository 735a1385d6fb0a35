"""What is told of hostile files and of fuzzing comes from runs, and a promise that is broken is told as broken."""

import json
from pathlib import Path

import pytest

from reliability import attacks, fuzz
from reliability.served import BrokenError
from reliability.tally import skipped
from tests.attacks.all import ATTACKS, Level


@pytest.mark.long
def test_every_hostile_file_is_counted_at_each_entrance(tmp_path: Path) -> None:
    (row,) = attacks.rows(tmp_path, sample=True)
    assert row.held, row.outcome
    assert row.count == 2 * len(ATTACKS)


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


RESULT = {"target": "codec", "seconds": 5, "executions": 7, "peak_rss_mb": 60, "findings": []}


def test_results_of_the_fuzzer_become_rows() -> None:
    codec, device = fuzz._told([RESULT, {**RESULT, "target": "device-pit", "findings": ["crash-1"]}])
    assert (codec.count, codec.held) == (7, True)
    assert (device.count, device.held) == (7, False)
    assert codec.outcome == "0 findings in 5 s; at most 60 MB, the interpreter's own included"


def test_the_last_run_of_the_fuzzer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results.json"
    results.write_text(json.dumps([RESULT]))
    monkeypatch.setattr(fuzz, "RESULTS", results)
    monkeypatch.setattr(fuzz, "find_spec", lambda _: object())
    monkeypatch.setattr(fuzz, "_states", lambda _: skipped("a", "b", "c"))
    assert [row.count for row in fuzz.rows(tmp_path, sample=False)] == [7, 0]
    monkeypatch.setattr(fuzz, "find_spec", lambda _: None)
    assert [row.outcome for row in fuzz.rows(tmp_path, sample=False)] == [
        "not tried: atheris is not installed: make fuzz",
        "not tried: c",
    ]
