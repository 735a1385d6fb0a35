"""`chkpt demo` saves a guest in mid-sector, kills it, and shows that nothing was lost; it leaves nothing behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chkpt.cli.demo import guest as demo_guest
from chkpt.cli.demo import stage
from chkpt.cli.demo.result import leave
from chkpt.cli.demo.terminal_actor import TerminalMachine
from chkpt.context import Checkpoint
from chkpt.errors import ChkptError, ExistsError
from chkpt.snapshot import Reader, dumps
from tests.chkpt.cli.looking import Ended, chkpt, impatient
from tests.guests import asked, key, output
from tests.support.rig import saved

Capture = pytest.CaptureFixture[str]

DEMO = [sys.executable, "-P", "-m", "chkpt", "demo"]

pytestmark = pytest.mark.usefixtures("temporary")


def table(out: str) -> dict[str, tuple[str, str]]:
    """Return the rows of the comparison at the end, by their names."""
    rows = out.partition("at the end ")[2].splitlines()[1:6]
    cells = [re.split(r"  +", row) for row in rows]
    return {name: (one, two) for name, one, two in cells}


def step_lines(ended: Ended[str]) -> list[str]:
    """Return the lines of the finished steps."""
    return [line[2:] for line in ended.out.splitlines() if line.startswith(("+ ", "\N{CHECK MARK} "))]


def shape(line: str) -> str:
    """Return a line of the demo without what differs from run to run: numbers, times, and which try it was."""
    line = re.sub(r" --force| \(try \d+: .*?\)", "", line).replace("written,", "read,")
    return " ".join(re.sub(r"\b(?=[a-f]*\d)[\da-f][\da-f.,]*\b", "#", line).split())


def readme() -> list[str]:
    """Return the lines of the demo that the README shows."""
    page = (Path(__file__).parents[4] / "README.md").read_text()
    return page.partition("```text\n$ make demo\n")[2].partition("```")[0].splitlines()


# -- success ---------------------------------------------------------------------------------------------------------


def test_the_guest_goes_on_as_if_it_had_not_been_killed(
    tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_guest, "KEY", b"4")
    monkeypatch.chdir(tmp_path)
    ended = chkpt(capfd, "demo")
    assert (ended.status, ended.err) == (0, "")
    steps = step_lines(ended)
    assert re.fullmatch(r"chkpt run demo\.toml: process \d+, which is never stopped, \d+\.\d\d s", steps[0])
    assert re.fullmatch(r"chkpt run demo\.toml: process \d+, \d+\.\d\d s", steps[1])
    place = r"byte \d+ of 512 of a sector is being (read|written)"
    tries = r"( \(try \d+: the earlier ones were between two sectors\))?"
    assert re.fullmatch("chkpt save demo( --force)?, while it runs: " + place + tries + r", \d+\.\d\d s", steps[2])
    assert re.fullmatch(r"kill -9 \d+", steps[3])
    assert re.fullmatch(r"chkpt run --load demo: process \d+, \d+\.\d\d s", steps[4])
    assert steps[5:] == ["all the same, and chkpt diff finds no difference in any device either"]
    printed = iter([shape(line) for line in ended.out.splitlines()])
    assert len(readme()) == 8
    assert [line for line in readme() if shape(line) not in printed] == []  # in this order
    twin, first, killed, second = (re.findall(r"\b\d\d+\b", steps[at])[0] for at in (0, 1, 3, 4))
    assert first == killed
    assert len({twin, first, second}) == 3
    found = table(ended.out)
    assert list(found) == ["ticks of the processor", "clock", "serial port", "RAM", "disk"]
    assert all(one == two for one, two in found.values())
    assert "    | total: 1024 sectors checked, 0 wrong, 2048 interrupts of the disk\n" in ended.out
    assert "\n$ chkpt inspect demo cpu\ncpu: type cpu, version 2\ncpu.ticks: " in ended.out
    assert "\n$ chkpt inspect demo ide0/drive0/transfer.offset\ndevices/ide0/drive0/transfer.offset: " in ended.out
    assert (
        len([line for line in ended.out.splitlines() if "    | " not in line]) <= 34
    )  # a screen, with 12 of the guest
    with Reader.open(tmp_path / "snapshots" / "demo.zst") as reader:
        reader.verify()
        transfer = reader.section("devices/ide0").contexts["drive0"].contexts["transfer"].values
        assert f"byte {transfer['offset']!r} of 512 of a sector" in steps[2]
    assert [path.name for path in tmp_path.iterdir()] == ["snapshots"]


@pytest.mark.long
def test_a_guest_that_is_too_fast_goes_again_and_an_earlier_snapshot_is_replaced(
    tmp_path: Path, temporary: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_guest, "KEY", b"3")
    half_moved, press = demo_guest._find_half_moved, TerminalMachine.type
    pressed: list[bytes] = []

    def counted(machine: TerminalMachine, text: bytes) -> None:
        pressed.append(text)
        press(machine, text)

    monkeypatch.setattr(TerminalMachine, "type", counted)
    monkeypatch.setattr(demo_guest, "_find_half_moved", lambda path: half_moved(path) if len(pressed) > 2 else None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s p").mkdir()
    (tmp_path / "s p" / "demo.zst").write_bytes(dumps(Checkpoint({"machine": "demo"}, {})))
    ended = chkpt(capsys, "demo", "--store", "s p", "--keep")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.count("    | round 1:") > 1
    assert all(one == two for one, two in table(ended.out).values())
    assert " chkpt save demo --force, while it runs: " in ended.out
    assert "$ chkpt inspect demo cpu --store 's p'\n" in ended.out
    assert "To go on from it yourself: chkpt run --load demo --store 's p' in one terminal" in ended.out
    (kept,) = temporary.iterdir()
    assert ended.out.endswith(f"\nkept: {kept}\n")
    names = ["demo.toml", "loaded.zst", "never-stopped.zst", "run-0.log", "run-1.log", "run-2.log"]
    assert sorted(path.name for path in kept.iterdir()) == names
    shutil.rmtree(kept)


# -- failure ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--trace",)], ids=["guest", "trace"])
@pytest.mark.parametrize("content", [dumps(Checkpoint({"machine": "mine"}, {})), b"text", None])
def test_anothers_snapshot_is_not_replaced(
    arguments: tuple[str, ...], content: bytes | None, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "demo.zst"
    if content is None:
        path.symlink_to("nowhere")
    else:
        path.write_bytes(content)
    ended = chkpt(capsys, "demo", *arguments, "--store", str(tmp_path))
    assert (ended.status, ended.out) == (1, "")
    message = "this is not the snapshot of an earlier demo; choose another store with --store"
    assert ended.err == f"chkpt: {path}: {message}\n"
    assert path.is_symlink() if content is None else path.read_bytes() == content


def test_without_the_extra_it_says_how_to_install_it(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "unicorn", None)
    ended = chkpt(capsys, "demo", "--store", str(tmp_path))
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        "chkpt: the demo's guest needs unicorn, which is not installed: pip install 'chkpt-machines[guest]'; "
        "chkpt demo --trace runs without a processor\n"
    )


class End:
    """A machine at its end, and the text that it has sent."""

    def __init__(self) -> None:
        self.machine = asked()
        self.text = output(self.machine)

    def save(self, path: Path) -> None:
        path.write_bytes(dumps(saved(self.machine)))


ALIKE = "the machine that was saved, killed and loaded differs from the one that was never stopped"


def poke_disk(end: End) -> None:
    end.machine.devices.frontends["block"].backends["ide0.0"].write(0, bytes(512))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda end: None, None),
        (lambda end: setattr(end, "text", end.text[1:]), ALIKE),
        (lambda end: end.machine.memory.write(0x90000, b"x"), ALIKE),
        (poke_disk, ALIKE),
        (lambda end: key(end.machine, "x"), ALIKE),  # ticks
        (lambda end: end.machine.ports.outb(0x3FF, 1), "chkpt diff failed with status 1"),
        (lambda end: end.machine.reset(), "loaded.zst: the guest is not at its end"),
    ],
    ids=["alike", "text", "RAM", "disk", "ticks", "device", "not over"],
)
def test_a_machine_that_ends_in_another_state_is_reported(change: Callable[[End], None], message: str | None) -> None:
    twin, second = End(), End()
    change(second)
    with stage.open_stage(keep=False) as opened:
        if message is None:
            demo_guest._compare(opened, twin, second, b"")
        else:
            with pytest.raises(ChkptError, match=message):
                demo_guest._compare(opened, twin, second, b"")


def test_a_guest_that_ends_the_machine_is_reported(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_guest, "KEY", b"q")
    ended = chkpt(capsys, "demo", "--store", str(tmp_path / "s"))
    assert ended.status == 1
    assert ended.err.startswith("chkpt: the machine ")
    assert "kill" not in ended.out


STAND_IN = """
import sys, time
if sys.argv[1] == "ends":
    sys.exit("no such luck")
if sys.argv[1] != "hangs":
    print("running", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("ends", "the machine ended with status 1: no such luck"),
        ("hangs", "the machine does not start"),
        ("serves not", "the machine does not answer ("),
    ],
)
def test_a_machine_that_fails_is_reported(
    what: str, message: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "COMMAND", (sys.executable, "-c", STAND_IN, what))
    impatient(monkeypatch, message)
    ended = chkpt(capsys, "demo", "--store", str(tmp_path))
    assert ended.status == 1
    assert ended.err.startswith(f"chkpt: {message}")


@pytest.mark.parametrize(("number", "lines"), [(signal.SIGINT, 3), (signal.SIGTERM, 7)])
def test_an_interrupted_demo_leaves_nothing(number: signal.Signals, lines: int, tmp_path: Path) -> None:
    with subprocess.Popen(DEMO, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            process.stdout.readline()
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        assert b"Traceback" not in process.stderr.read()


# -- ended by force, and beside another -------------------------------------------------------------------------------


def alive(pid: int) -> bool:
    """Return whether a process still runs; a zombie does not."""
    try:
        return " Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.long
def test_a_killed_demo_leaves_no_machine(tmp_path: Path, temporary: Path) -> None:
    with subprocess.Popen(DEMO, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline() + process.stdout.readline() + process.stdout.readline()
        machines = [int(pid) for pid in re.findall(r"chkpt run demo\.toml: process (\d+)", said)]
        assert len(machines) == 2
        assert all(map(alive, machines))
        process.kill()
    while any(map(alive, machines)):
        time.sleep(0.01)
    for left in temporary.iterdir():
        shutil.rmtree(left)


def test_a_process_whose_stage_has_ended_before_it_begins_is_killed() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    kept = os.dup(writing)
    code = (
        f"import os; os.close({kept}); from chkpt.cli.demo.stage import _tie; _tie({reading}, {writing}); print('runs')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, pass_fds=(reading, writing, kept)
    ) as process:
        for file in (reading, writing, kept):
            os.close(file)
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert process.wait() == -signal.SIGKILL


def test_the_snapshot_of_a_demo_that_ended_first_is_replaced_and_anothers_is_not(tmp_path: Path) -> None:
    def demos(ticks: int) -> Path:
        path = tmp_path / str(ticks) / "demo.zst"
        path.parent.mkdir()
        path.write_bytes(dumps(Checkpoint({"machine": "demo", "ticks": ticks}, {})))
        return path

    store = tmp_path / "store"
    first, second = demos(1), demos(2)
    assert leave(first, store) == leave(second, store) == store / "demo.zst"
    assert (store / "demo.zst").read_bytes() == second.read_bytes()
    (store / "demo.zst").write_bytes(b"mine")
    with pytest.raises(ExistsError, match="this is not the snapshot of an earlier demo"):
        leave(first, store)
    assert (store / "demo.zst").read_bytes() == b"mine"


@pytest.mark.long
def test_two_demos_at_once_in_one_directory_both_come_to_their_end(tmp_path: Path) -> None:
    both = [
        subprocess.Popen([*DEMO, "--trace"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["demo.zst"]
