"""A machine with a processor: configured, reset, saved, loaded whole or in part, standing still, run by its loop."""

import dataclasses
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import cast

import pytest

from chkpt.context import Checkpoint, Value
from chkpt.errors import ConfigError, StateError
from chkpt.machine import Machine
from chkpt.machine.config import parse, without_host
from chkpt.machine.cpu import MODELS
from chkpt.machine.cpu import unicorn_context as layout
from chkpt.machine.cpu.execution import Outcome
from chkpt.machine.run.loop import RunLoop
from chkpt.state import from_context
from tests.guests import SECOND, begin, busy, computer, demo, differences, everything, execution, finish, output
from tests.support.rig import saved

ROOT = Path(__file__).parents[4]

# -- configuration ----------------------------------------------------------------------------------------------------


def in_another_process(code: str) -> str:
    """Return what `code` prints in a new interpreter, where nothing has been imported yet."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout


def test_without_unicorn_a_cpu_is_refused_and_the_message_says_how_to_install_it() -> None:
    code = """
import sys
sys.modules["unicorn"] = None
from chkpt.machine import Machine
from chkpt.machine.config import parse
Machine(parse({"name": "plain"})).step(1000)
try:
    Machine(parse({"cpu": {}}))
except Exception as exc:
    print(type(exc).__name__, exc)
"""
    expected = "ConfigError unicorn is not installed, which a CPU needs: pip install 'chkpt-machines[guest]'\n"
    assert in_another_process(code) == expected


def test_a_machine_without_a_cpu_does_not_import_unicorn() -> None:
    code = "import sys; from chkpt.machine import Machine; Machine(); print('unicorn' in sys.modules)"
    assert in_another_process(code) == "False\n"


def test_a_machine_without_a_cpu_says_so_when_run() -> None:
    machine = Machine(parse({"name": "plain"}))
    with pytest.raises(ConfigError, match="machine plain has no CPU to run"):
        machine.run()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"cpu": {"model": "z80"}}, "cpu: model 'z80' is not one of unicorn, unicorn-portable"),
        ({"cpu": {"modle": "unicorn"}}, "cpu: unknown key modle; did you mean model?"),
        ({"cpu": {"rate": 1}}, "cpu: rate is 1, not within"),
        ({"cpu": True}, r"machine: cpu is not a table: write \[cpu\]"),
        ({"cpu": {}, "memory": "4G"}, "is more than the 3221225472 bytes that go with a CPU"),
        ({"firmware": {}}, "firmware: give either bios, the path of an image, or rom, the name of a ROM"),
        ({"firmware": {"bios": "x", "rom": "boot"}}, "firmware: give either bios"),
    ],
)
def test_a_cpu_or_firmware_that_cannot_be_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Machine(parse(table))


def test_a_build_of_unicorn_with_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "HEADER", layout.HEADER + 16)
    with pytest.raises(ConfigError, match="does not know how to drive this build of unicorn"):
        computer()


def test_what_counts_blocks_is_machine_code_or_python() -> None:
    natives = [getattr(execution(computer(model)).cpu, "native") for model in MODELS]  # noqa: B009
    assert natives == [True, False]


# -- firmware ---------------------------------------------------------------------------------------------------------


def bios(tmp_path: Path, code: bytes, fill: int = 0x90) -> Path:
    """Make a BIOS of 4 KiB that runs `code`."""
    image = code.ljust(0xFF0, bytes([fill])) + bytes.fromhex("ea00f000f0").ljust(16, b"\0")  # jmp f000:f000
    path = tmp_path / f"bios{fill}.bin"
    path.write_bytes(image)
    return path


def test_a_bios_runs_from_the_reset_vector_and_lies_in_rom_and_below_1_mib(tmp_path: Path) -> None:
    path = bios(tmp_path, bytes.fromhex("b0a5e680c606000501faf4"))  # out 80h, al; mov byte [500h], 1; cli; hlt
    machine = computer(firmware={"bios": str(path)})
    assert finish(machine) is Outcome.DEAD
    assert machine.memory.load(0x500, 1) == 1
    image = path.read_bytes()
    assert machine.memory.read((1 << 20) - 4096, 4096) == image
    machine.memory.write((1 << 32) - 4096, b"ROM stays")
    assert machine.memory.read((1 << 32) - 4096, 4096) == image
    machine.close()


def test_a_reset_runs_the_bios_again_as_it_was(tmp_path: Path) -> None:
    machine = computer(firmware={"bios": str(bios(tmp_path, bytes.fromhex("fe060005faf4")))})  # inc byte [500h]
    finish(machine)
    machine.memory.write((1 << 20) - 4096, bytes(4096))
    machine.reset()
    assert machine.run(until=2 * SECOND) is Outcome.DEAD
    assert machine.memory.load(0x500, 1) == 2
    machine.close()


def test_a_snapshot_of_a_machine_with_another_bios_is_refused(tmp_path: Path) -> None:
    one = computer(firmware={"bios": str(bios(tmp_path, b"\xfa\xf4"))})
    other = computer(firmware={"bios": str(bios(tmp_path, b"\xfa\xf4", 0x91))})
    before = everything(other)
    with pytest.raises(StateError, match=r"firmware\.digest is"):
        other.load(saved(one))
    assert not list(differences(everything(other), before))


def test_the_path_of_a_bios_is_not_taken_from_a_snapshot(tmp_path: Path) -> None:
    config = parse({"memory": "2M", "firmware": {"bios": "bios.bin"}}, tmp_path)
    assert config.firmware is not None
    assert config.firmware.bios == str(tmp_path / "bios.bin")
    stripped, lost = without_host(config)
    assert stripped.firmware is None
    assert lost == ("firmware",)


# -- save and load ----------------------------------------------------------------------------------------------------


def edited(checkpoint: Checkpoint, context: str, **values: object) -> Checkpoint:
    changed = cast("dict[str, Value]", {**checkpoint.contexts[context].values, **values})
    contexts = {**checkpoint.contexts, context: dataclasses.replace(checkpoint.contexts[context], values=changed)}
    return dataclasses.replace(checkpoint, contexts=contexts)


def test_a_save_is_a_pure_read() -> None:
    machine = busy()
    machine.run(ticks=70_000)
    assert not list(differences(everything(machine), everything(machine)))


def test_the_registers_are_readable_in_the_state() -> None:
    machine = busy()
    machine.run(ticks=70_000)
    state = saved(machine).contexts["cpu"]
    assert state.values["ticks"] == execution(machine).cpu.ticks
    assert state.contexts["cs"].values["selector"] == 0x18  # busy.asm is in long mode here
    assert state.values["efer"] == 0x500
    assert state.values["rip"] in range(0x8000, 0x8400)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"efer": 0x500, "cr0": 1}, "long mode active"),
        ({"msrs": [[0x1B, 0]]}, "cpu.msrs has 0x1b"),
        ({"cr8": 16}, "cpu.cr8 is 16"),
        ({"rip": -1}, "cpu.rip is -1, not within"),
        ({"fxsave": b""}, "cpu.fxsave has length 0"),
    ],
)
def test_a_processor_that_cannot_be_is_refused_and_nothing_changes(values: dict[str, object], message: str) -> None:
    machine = busy()
    machine.run(ticks=30_000)
    before = everything(machine)
    with pytest.raises(StateError, match=message):
        machine.load(edited(saved(busy()), "cpu", **values))
    assert not list(differences(everything(machine), before))


def test_a_load_that_a_device_refuses_puts_the_processor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, other = busy(), busy()
    machine.run(ticks=30_000)
    other.run(ticks=60_000)
    before = everything(machine)
    pit = machine.devices.find("pit")
    good = getattr(pit, "load")  # noqa: B009

    def refuse(_: object) -> None:
        monkeypatch.setattr(pit, "load", good)
        raise StateError("not today")

    monkeypatch.setattr(pit, "load", refuse)
    with pytest.raises(StateError, match="not today"):
        machine.load(saved(other))
    assert not list(differences(everything(machine), before))


def test_a_partial_load_leaves_the_processor_alone() -> None:
    machine, other = busy(), busy()
    machine.run(ticks=30_000)
    other.run(ticks=60_000)
    before = everything(machine)["cpu"]
    machine.load(saved(other), only=["com1"])
    assert everything(machine)["cpu"] == before


def test_a_snapshot_without_a_processor_leaves_it_and_reports_that() -> None:
    machine = busy()
    checkpoint = saved(machine)
    del checkpoint.contexts["cpu"]
    report = machine.load(checkpoint)
    assert [(skip.name, skip.reason) for skip in report.skipped] == [("cpu", "its context is missing")]


def test_a_machine_without_a_processor_skips_one_and_reports_that() -> None:
    machine = Machine(parse({key: value for key, value in busy().config.table.items() if key != "cpu"}))
    report = machine.load(saved(busy()))
    assert [(skip.name, skip.reason) for skip in report.skipped] == [("cpu", "this machine has no such part")]


# -- memory and standing still ----------------------------------------------------------------------------------------


def test_code_that_the_owner_writes_is_run_though_the_old_one_was_translated() -> None:
    machine = computer()
    begin(machine, bytes.fromhex("b001a20005ebf9"))  # 1: mov al, 1; mov [500h], al; jmp 1b
    machine.run(ticks=1000)
    machine.memory.write(0x8001, b"\x02")
    machine.run(ticks=2000)
    assert machine.memory.load(0x500, 1) == 2


@pytest.mark.parametrize(("level", "expected"), [(True, (0x11, 0x22)), (False, (0x22, 0x22))])
def test_without_a20_the_second_megabyte_is_the_first(level: bool, expected: tuple[int, int]) -> None:
    machine = computer()
    # ds = ffffh: mov byte [500h], 11h through es = 0; mov byte [510h], 22h through ds, which is 100500h
    begin(machine, bytes.fromhex("31c08ec026c606000511b8ffff8ed8c606100522faf4"))
    execution(machine).cpu.a20 = level
    finish(machine)
    assert (machine.memory.load(0x500, 1), machine.memory.load(0x100500, 1) or 0x22) == expected


@pytest.mark.parametrize(
    ("code", "outcome", "message"),
    [
        ("faf4", Outcome.DEAD, "halted with interrupts off"),
        ("0f0b", Outcome.SHUTDOWN, "triple fault"),  # UD2 without an interrupt table
    ],
)
def test_a_guest_that_stands_still_is_logged_and_can_be_saved_and_reset(
    code: str, outcome: Outcome, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    machine = computer()
    begin(machine, bytes.fromhex("0f011e1080" + code).ljust(16, b"\0") + bytes(6))  # lidt [8010h], which is empty
    with caplog.at_level(logging.ERROR):
        assert finish(machine) is outcome
        assert machine.run(until=2 * SECOND) is outcome
    assert [message in record.message for record in caplog.records] == [True]
    twin = computer()
    twin.load(saved(machine))
    assert twin.run(until=3 * SECOND) is outcome
    state = from_context(saved(twin).contexts["cpu"], type(execution(twin).save()), "cpu")
    assert state.activity == ("halted" if outcome is Outcome.DEAD else "shutdown")
    twin.reset()
    begin(twin, b"\xfb\xf4")
    assert twin.run() is Outcome.IDLE or twin.run(until=4 * SECOND) is Outcome.ENOUGH


def test_a_guest_that_runs_away_into_a_hole_stops_with_a_message() -> None:
    machine = computer(memory="1M")
    begin(machine, bytes.fromhex("0f011e108031c08ed8eaf0ffffff").ljust(16, b"\0") + bytes(6))  # jmp ffff:fff0
    assert finish(machine) is Outcome.SHUTDOWN
    assert execution(machine).cpu.reason
    saved(machine)


# -- the run loop -----------------------------------------------------------------------------------------------------


def test_the_loop_runs_the_guest_and_a_save_does_not_disturb_it() -> None:
    plain = busy()
    finish(plain)
    machine = busy()
    loop = RunLoop(machine, wall_clock=True)
    thread = Thread(target=loop.run)
    thread.start()
    try:
        for _ in range(5):
            loop.submit(lambda: saved(machine)).result()
        end = time.monotonic() + 60
        while loop.submit(lambda: output(machine)).result() != output(plain) and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        loop.stop()
        thread.join()
    assert loop.error is None
    finish(machine)  # it may have been stopped before the timer ticked once more
    assert everything(machine)["cpu"] == everything(plain)["cpu"]
    assert machine.memory.ram[:] == plain.memory.ram[:]


def test_the_loop_begins_by_itself_and_wakes_the_guest_for_whatever_comes() -> None:
    machine = demo()
    loop = RunLoop(machine, wall_clock=True)
    thread = Thread(target=loop.run)
    thread.start()
    try:
        wait_for(lambda: output(machine).endswith(b"quit)? "))  # without a call
        loop.submit(lambda: machine.devices.frontends["char"].backends["com1"].feed(b"q")).result()  # type: ignore[attr-defined]
        thread.join(60)
        assert machine.requests.exit_status == 1
    finally:
        loop.stop()
        thread.join()


def test_between_one_call_and_the_next_the_guest_has_a_turn() -> None:
    """Without that, a client that asks twice is served twice at once, and sees a running guest as asleep."""
    machine = busy()
    loop = RunLoop(machine, wall_clock=True)

    def look() -> int:
        return execution(machine).cpu.ticks

    asked = loop.submit(lambda: (look(), loop.submit(look)))
    thread = Thread(target=loop.run)
    thread.start()
    try:
        before, again = asked.result(60)
        assert again.result(60) > before
    finally:
        loop.stop()
        thread.join()


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("wall_clock", "paused"), [(True, True), (False, False)], ids=["paused", "qtest"])
def test_a_paused_machine_and_one_on_qtest_do_not_run(wall_clock: bool, paused: bool) -> None:
    machine = busy()
    loop = RunLoop(machine, wall_clock=wall_clock)
    loop.paused = paused
    thread = Thread(target=loop.run)
    thread.start()
    for _ in range(20):
        assert loop.submit(lambda: execution(machine).cpu.ticks).result() == 0
    loop.stop()
    thread.join()


# -- what a board does to its processor -------------------------------------------------------------------------------


def board(tmp_path: Path, code: str) -> Machine:
    """Make a machine with port 0x92, whose BIOS is `code`, and run it until it halts."""
    path = str(bios(tmp_path, bytes.fromhex(code)))
    machine = Machine(parse({"memory": "2M", "cpu": {}, "firmware": {"bios": path}, "device": [{"type": "port92"}]}))
    machine.run(ticks=100_000)
    return machine


def test_a_guest_closes_and_opens_address_line_20(tmp_path: Path) -> None:
    machine = board(
        tmp_path,
        "b8ffff 8ed8"  # mov ax, 0xffff; mov ds, ax
        "30c0 e692 c6061005aa"  # xor al, al; out 0x92, al; mov byte [0x510], 0xaa: at 1 MiB + 0x500, or at 0x500
        "b002 e692 c6061005bb f4",  # mov al, 2; out 0x92, al; mov byte [0x510], 0xbb; hlt
    )
    assert machine.memory.read(0x500, 1) == b"\xaa"
    assert machine.memory.read(0x10_0500, 1) == b"\xbb"


def test_the_processor_follows_address_line_20_through_a_load(tmp_path: Path) -> None:
    closed, opened = board(tmp_path, "30c0 e692 f4"), board(tmp_path, "f4")
    before = saved(opened)
    opened.load(saved(closed), only=["port92"])
    assert not execution(opened).cpu.a20
    opened.load(before)
    assert execution(opened).cpu.a20


def test_a_reset_that_a_guest_requests_comes_before_its_next_instruction(tmp_path: Path) -> None:
    machine = board(
        tmp_path,
        "31c0 8ed8 fe060005"  # xor ax, ax; mov ds, ax; inc byte [0x500]
        "803e000503 7404"  # cmp byte [0x500], 3; je hlt
        "b003 e692 f4",  # mov al, 3; out 0x92, al; hlt
    )
    assert machine.memory.read(0x500, 1) == b"\x03"
