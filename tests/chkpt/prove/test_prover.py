"""The prover finds each kind of fault, shows it in few steps, and finds nothing where there is nothing."""

import logging
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from chkpt.device import DeviceType
from chkpt.grammar import Acknowledge, Grammar, In, Out, Phrase
from chkpt.manager import BackendTypes, DeviceTypes
from chkpt.prove import Proof, Symptom, assert_invisible, prove, report, setups_of
from chkpt.prove.lockstep import Way
from chkpt_devices.ide import IDE
from chkpt_devices.pic import PIC
from examples.mailbox import MAILBOX
from examples.scratchpad import SCRATCHPAD
from tests.chkpt.prove import faulty
from tests.chkpt.prove.faulty import relay_type
from tests.chkpt.prove.forgetful import fields, forgetful


def proof_of(device_type: DeviceType[Any, Any], runs: int = 60, seed: int = 0) -> Proof:
    return prove(setups_of(device_type), runs=runs, seed=seed)


@pytest.mark.parametrize("device_type", [IDE, SCRATCHPAD, relay_type(faulty.Relay)], ids=lambda t: t.name)
def test_nothing_is_found_where_nothing_is_wrong(device_type: DeviceType[Any, Any]) -> None:
    """The other chips, and a whole machine, are in tests/test_invisible_restore.py."""
    proof = proof_of(device_type, runs=6)
    assert proof.finding is None
    assert (proof.runs, proof.cuts > 30, proof.steps >= 6 * 300) == (6, True, True)


@pytest.mark.parametrize(
    ("cls", "what", "attribute", "steps"),
    [
        (faulty.LoadsNoValue, Symptom.SAVED, "value", 1),
        (faulty.ArmsNoTimer, Symptom.TIMER, "timer.deadline", 1),
        (faulty.InventsALevel, Symptom.LEVEL, "", 0),
        (faulty.ForgetsThatAByteWaits, Symptom.ANSWER, "waiting", 2),
        (faulty.RefusesItsOwn, Symptom.REFUSED, "", 1),
    ],
)
def test_a_fault_is_found_and_named_in_few_steps(
    cls: type[faulty.Relay], what: Symptom, attribute: str, steps: int
) -> None:
    finding = proof_of(relay_type(cls)).finding
    assert finding is not None
    assert finding.divergence.what is what
    names = [each.path for each in finding.divergence.attributes if each.device == "relay"]
    assert attribute in names if attribute else not names
    assert len(finding.experiment) <= steps
    assert finding.length > steps


def test_what_is_saved_but_not_loaded_is_named_by_its_field() -> None:
    finding = proof_of(relay_type(faulty.LoadsNoValue)).finding
    assert finding is not None
    assert finding.divergence.fields == ("devices/relay.value",)


def test_a_refusal_is_shown_in_the_devices_words() -> None:
    finding = proof_of(relay_type(faulty.RefusesItsOwn)).finding
    assert finding is not None
    assert "waiting is what it cannot be" in finding.divergence.original


def test_a_save_that_changes_the_machine_is_found_beside_one_that_was_never_saved() -> None:
    finding = proof_of(relay_type(faulty.SavesAndForgets)).finding
    assert finding is not None
    assert "waiting" in [each.path for each in finding.divergence.attributes]


def test_an_error_that_a_device_raises_is_found_with_the_steps_that_raise_it() -> None:
    finding = proof_of(relay_type(faulty.Fails)).finding
    assert finding is not None
    assert finding.divergence.what is Symptom.RAISED
    assert "KeyError" in finding.divergence.original
    assert len(finding.experiment) == 1


def test_what_saving_loses_on_both_sides_is_found_by_a_machine_that_was_never_saved() -> None:
    finding = proof_of(relay_type(faulty.ClearsNothing)).finding
    assert finding is not None
    assert finding.experiment.way is Way.UNSAVED


def test_a_device_that_does_not_repeat_itself_is_found() -> None:
    assert proof_of(relay_type(faulty.Counts)).finding is not None


def test_a_cache_is_told_and_is_no_finding() -> None:
    proof = proof_of(relay_type(faulty.Caches), runs=20)
    assert proof.finding is None
    assert {each.path.partition("[")[0] for each in proof.unnoticed} == {"cache"}
    assert "differ after a load, and never showed: relay.cache" in "\n".join(report(proof))


def phrases(_: str, config: faulty.RelayConfig) -> list[Callable[[Random], Phrase]]:
    def unlock(_: Random) -> Phrase:
        for value in faulty.Guarded.code:
            yield Out(config.port, value)
        yield In(config.port)

    def flag(_: Random) -> Phrase:
        yield Out(config.port, 0x77)

    return [unlock, flag]


def test_a_cache_that_the_grammar_names_is_not_told() -> None:
    grammar: Grammar[faulty.RelayConfig] = Grammar(phrases, caches=("cache",))
    assert proof_of(relay_type(faulty.Caches, grammar=grammar), runs=20).unnoticed == ()


def test_a_grammar_reaches_what_noise_does_not() -> None:
    assert proof_of(relay_type(faulty.Guarded), runs=10).finding is None
    grammar: Grammar[faulty.RelayConfig] = Grammar(phrases)
    finding = proof_of(relay_type(faulty.Guarded, grammar=grammar), runs=10).finding
    assert finding is not None
    assert "flag" in [each.path for each in finding.divergence.attributes]


@pytest.mark.parametrize("field", [*fields(SCRATCHPAD)])
def test_a_hole_planted_in_the_readmes_device_is_found_with_its_grammar_and_blindly(field: str) -> None:
    broken = forgetful(SCRATCHPAD, field)
    assert proof_of(broken).finding is not None
    assert proof_of(DeviceType(broken.name, broken.create, broken.config, broken.state)).finding is not None


def test_the_example_with_a_hole_is_shown_in_two_steps() -> None:
    finding = proof_of(MAILBOX).finding
    assert finding is not None
    assert [each.path for each in finding.divergence.attributes] == ["_full"]
    assert finding.transcript.splitlines()[1:] == [
        "> outb 0x300 0x0",
        "< OK",
        "# cut",
        "> inb 0x301",
        "< OK 0x0001",
        "# went on:  0x1",
        "# restored: 0x0",
    ]


def test_equal_seeds_find_the_same_and_others_something_else() -> None:
    def found(seed: int) -> tuple[int, int]:
        finding = proof_of(relay_type(faulty.ForgetsThatAByteWaits), seed=seed).finding
        assert finding is not None
        return finding.run, finding.length

    assert found(3) == found(3)
    assert len({found(seed) for seed in range(6)}) > 1


def test_no_run_begins_after_the_time_that_was_given() -> None:
    assert prove(setups_of(SCRATCHPAD), seconds=0).runs == 0


def test_progress_is_told_after_each_run() -> None:
    calls: list[tuple[int, int]] = []
    proof = prove(setups_of(SCRATCHPAD), runs=3, progress=lambda runs, steps: calls.append((runs, steps)))
    assert [runs for runs, _ in calls] == [1, 2, 3]
    assert calls[-1][1] == proof.steps


def test_the_loads_are_kept_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    level = logging.getLogger("chkpt").level
    prove(setups_of(relay_type(faulty.RefusesItsOwn)), runs=3)
    assert not caplog.records
    assert logging.getLogger("chkpt").level == level


def test_a_test_of_a_device_fails_with_the_conversation() -> None:
    assert_invisible(SCRATCHPAD, runs=3)
    with pytest.raises(AssertionError, match=r"mailbox\._full: True, restored False(.|\n)*> outb 0x300 0x0"):
        assert_invisible(MAILBOX)


def test_a_device_stands_beside_the_interrupt_controller_and_is_acknowledged() -> None:
    (setup,) = setups_of(SCRATCHPAD)
    assert [device.type for device in setup.config.devices] == ["pic", "scratchpad"]
    (alone,) = setups_of(PIC)
    assert [device.type for device in alone.config.devices] == ["pic"]


def test_a_device_is_proved_where_no_controller_is_installed() -> None:
    (setup,) = setups_of(MAILBOX, DeviceTypes(), BackendTypes())
    proof = prove([setup], runs=2)
    assert proof.finding is not None
    assert Acknowledge() not in proof.finding.experiment.before


def test_a_grammars_tables_are_all_proved() -> None:
    assert [len(setup.config.devices[1].backends) for setup in setups_of(IDE)] == [2, 2, 2, 2]
