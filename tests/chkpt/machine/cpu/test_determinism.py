"""The same machine runs the same way, whatever counts its blocks and wherever its run is cut."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from chkpt.machine.cpu.execution import Outcome
from chkpt.prove.cpu.program import LIMIT, Program, new_machine, put
from chkpt.snapshot import dumps, loads
from tests.guests import HERE, begin, busy, computer, differences, digest, everything, execution, finish, output
from tests.support.rig import saved


@pytest.fixture(scope="module")
def uncut() -> tuple[dict[str, object], bytes, int]:
    """The state after a run that was never stopped, its output, and its ticks."""
    machine = busy()
    assert finish(machine) is Outcome.DEAD
    result = everything(machine), output(machine), execution(machine).cpu.ticks
    machine.close()
    return result


def test_the_guest_comes_to_its_end(uncut: tuple[dict[str, object], bytes, int]) -> None:
    said = uncut[1]
    assert len(said) == 5
    assert said[::2] == b"rr\n"


@pytest.mark.parametrize("model", ["unicorn", "unicorn-portable"])
def test_two_runs_are_one(model: str, uncut: tuple[dict[str, object], bytes, int]) -> None:
    machine = busy(model)
    finish(machine)
    assert output(machine) == uncut[1]
    assert not list(differences(everything(machine), uncut[0]))
    machine.close()


def test_a_run_may_be_cut_into_any_pieces(uncut: tuple[dict[str, object], bytes, int]) -> None:
    machine = busy()
    choose = Random(1)
    while execution(machine).cpu.ticks < uncut[2]:
        ticks = execution(machine).cpu.ticks + choose.choice((1, 1, 30, 900, 4000))
        machine.run(ticks=ticks, until=machine.clock.now + choose.choice((1, 5_000, 400_000)))
    finish(machine)
    assert output(machine) == uncut[1]
    assert not list(differences(everything(machine), uncut[0]))
    machine.close()


@pytest.mark.parametrize("seed", range(6))
def test_a_snapshot_at_any_tick_goes_on_to_the_same_end(seed: int, uncut: tuple[dict[str, object], bytes, int]) -> None:
    choose = Random(seed)
    said = b""
    machine = busy(choose.choice(("unicorn", "unicorn-portable")))
    for at in sorted(choose.randrange(uncut[2]) for _ in range(8)):  # eight cuts in one run: each goes on in the next
        machine.run(ticks=at)
        said += output(machine)
        snapshot = dumps(saved(machine))
        machine.close()
        machine = computer(choose.choice(("unicorn", "unicorn", "unicorn-portable")))
        machine.load(loads(snapshot))
    finish(machine)
    assert said + output(machine) == uncut[1]
    assert not list(differences(everything(machine), uncut[0]))
    machine.close()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(200))
def test_a_snapshot_at_each_of_200_ticks_goes_on_to_the_same_end(
    seed: int, uncut: tuple[dict[str, object], bytes, int]
) -> None:
    machine = busy()
    machine.run(ticks=Random(1000 + seed).randrange(uncut[2]))
    said, snapshot = output(machine), dumps(saved(machine))
    machine.close()
    machine = computer()
    machine.load(loads(snapshot))
    finish(machine)
    assert said + output(machine) == uncut[1]
    assert not list(differences(everything(machine), uncut[0]))
    machine.close()


@pytest.mark.parametrize("share", [3, 7])
def test_a_snapshot_goes_on_to_the_same_end_in_another_process(
    share: int, tmp_path: Path, uncut: tuple[dict[str, object], bytes, int]
) -> None:
    machine = busy()
    machine.run(ticks=uncut[2] * share // 10)
    said = output(machine)
    path = tmp_path / "cut.zst"
    path.write_bytes(dumps(saved(machine)))
    finish(machine)  # the run that was saved is not disturbed either
    assert not list(differences(everything(machine), uncut[0]))
    command = [sys.executable, "-m", "tests.guests.resume", str(path)]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=HERE.parents[1]).stdout)
    assert said + result["output"].encode() == uncut[1]
    assert result["digest"] == digest(machine)
    machine.close()


def waiting(code: str) -> bytes:
    """Return a guest to which IRQ 0 comes while IF is 0, and which goes on with `code`; its handler halts."""
    begins = bytes.fromhex(
        "fa31c08ed88ed0bc0070"  # cli; ds = ss = 0; sp = 7000h
        "c70600020000"  # the count at 200h
        "c70680008081c70682000000"  # vector 20h: 0:8180h
        "b011e620b020e621b004e621b001e621b0fee621"  # 8259A
        "b030e643b001e640b000e640"  # 8254: at once
        "b9f401e2fe"  # a while with IF = 0
    )
    return (begins + bytes.fromhex(code)).ljust(0x180, b"\x90") + bytes.fromhex("faf4")  # the handler: cli; hlt


COUNT = "ff060002"  # inc word [200h]

WINDOWS = {
    "as soon as it may be": ("fb90" + COUNT + "ebfa", 0),  # sti; nop; and counting
    "not in the shadow of sti": ("fb" + COUNT + COUNT + "ebfa", 1),
    "in a window of one instruction": (COUNT + "fb90fa" + "ebf7", 1),  # count; sti; nop; cli; again
    "not in a window that is all shadow": (COUNT + "fbfa" + "833e000203" + "75f3" + "fb90ebfe", 3),  # sti; cli
    "where POPF opens": ("9c58" + "80cc02" + COUNT + "509d" + COUNT + "ebfa", 1),  # pushf; or [IF]; popf
}


@pytest.mark.parametrize("model", ["unicorn", "unicorn-portable"])
@pytest.mark.parametrize(("code", "count"), WINDOWS.values(), ids=WINDOWS)
def test_an_interrupt_that_waits_is_taken_where_the_guest_lets_it(model: str, code: str, count: int) -> None:
    ticks = set()
    for piece in (1, 7, 100, 10**6):
        machine = computer(model)
        begin(machine, waiting(code))
        end = 100_000
        while machine.run(ticks=min(execution(machine).cpu.ticks + piece, end)) is not Outcome.DEAD:
            assert execution(machine).cpu.ticks < end, "the interrupt was never taken"
        assert machine.memory.load(0x200, 2) == count
        ticks.add(execution(machine).cpu.ticks)
        machine.close()
    assert len(ticks) == 1


# Two requests wait, the controller ends each by itself (AEOI), and the handlers are behind trap gates: when the first
# has been taken, the second could be at once. It is taken a block later, and a stop in between does not change that.
@pytest.mark.parametrize("model", ["unicorn", "unicorn-portable"])
@pytest.mark.parametrize("bits", [32, 64])
def test_a_stop_between_two_interrupts_does_not_bring_the_second_forward(model: str, bits: int) -> None:
    ends: list[dict[str, object]] = []
    for stopped in (False, True):
        machine = new_machine(model)
        put(Program(bits, (("interrupt waits", 3), ("interrupt waits", 5)), nested=True), machine)
        while stopped and not execution(machine).stands_still:
            ticks = execution(machine).cpu.ticks
            machine.run(ticks=ticks)
            machine.run(ticks=ticks + 1)
        machine.run(ticks=LIMIT)
        ends.append(everything(machine))
        machine.close()
    assert not list(differences(ends[1], ends[0]))
