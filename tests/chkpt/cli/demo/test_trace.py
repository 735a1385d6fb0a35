"""`chkpt demo --trace` goes on as QEMU did, reports the first wrong answer, and leaves nothing behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from chkpt.cli.demo import stage
from chkpt.context import Checkpoint
from chkpt.errors import ChkptError
from chkpt.interop import trace
from chkpt.snapshot import Reader, dumps
from tests.chkpt.cli.looking import Ended, chkpt, impatient

Capture = pytest.CaptureFixture[str]

DEMO = [sys.executable, "-P", "-m", "chkpt", "demo", "--trace"]


pytestmark = pytest.mark.usefixtures("temporary")


def run(directory: Path, *arguments: str, **environment: str) -> Ended[str]:
    """Run the demo in a process of its own, from `directory`."""
    done = subprocess.run(
        [*DEMO, *arguments],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


# -- as it should go --------------------------------------------------------------------------------------------------


def test_the_machine_goes_on_as_qemu_did(tmp_path: Path) -> None:
    ended = run(tmp_path, PYTHONIOENCODING="utf-8")
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    conversation = trace.parse_trace(trace.DEMO.read_text())
    parts = [each.comment for each in conversation.exchanges if each.comment]
    ticked = [line.removeprefix("✓ ") for line in lines if line.startswith("✓ ")]
    assert len(parts) == 13
    assert len(ticked) == len(parts) + 4
    assert [part for part in parts if any(line.startswith(f"{part} (") for line in ticked)] == parts
    steps = [line for line in ticked if line.startswith(("chkpt", "kill"))]
    assert re.fullmatch(r"chkpt run demo\.toml: process \d+, \d+\.\d\d s", steps[0])
    assert re.fullmatch(r"chkpt save demo: \d+ bytes in \S+/snapshots/demo\.zst, \d+\.\d\d s", steps[1])
    assert re.fullmatch(r"kill -9 \d+", steps[2])
    assert re.fullmatch(r"chkpt run demo\.toml --load demo: process \d+, \d+\.\d\d s", steps[3])
    first, killed, second = (re.findall(r"\b\d+\b", steps[at])[0] for at in (0, 2, 3))
    assert first == re.findall(r"\d+", steps[2])[1]
    assert killed == "9"
    assert first != second
    total = sum(int(count) for count in re.findall(r"\((\d+) answers\)", ended.out))
    assert total == len(conversation.exchanges)
    assert f"{total} answers compared, all as QEMU gave them" in ended.out
    assert re.search(r"^start \d\.\d\d s, save \d\.\d\d s, start and load \d\.\d\d s", ended.out, re.MULTILINE)
    assert "\n$ chkpt inspect demo\nsnapshot: " in ended.out
    with Reader.open(tmp_path / "snapshots" / "demo.zst") as reader:
        reader.verify()
        assert f"digest: {reader.root_digest.hex()}" in lines
    assert [path.name for path in tmp_path.iterdir()] == ["snapshots"]
    assert lines[-2:] == [
        "",
        "The disk it used is gone, so demo cannot be run; chkpt demo --trace --keep keeps the disk.",
    ]


def test_an_earlier_demos_snapshot_is_replaced(
    tmp_path: Path, temporary: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    older = Checkpoint({"machine": "demo"}, {})
    (tmp_path / "s p").mkdir()
    (tmp_path / "s p" / "demo.zst").write_bytes(dumps(older))
    ended = run(tmp_path, "--store", "s p", "--keep", PYTHONIOENCODING="ascii")
    assert (ended.status, ended.err) == (0, "")
    assert "\n+ chkpt save demo: " in ended.out
    assert "$ chkpt inspect demo --store 's p'\n" in ended.out
    with Reader.open(tmp_path / "s p" / "demo.zst") as reader:
        assert [entry.path[0] for entry in reader.sections] != []
    (kept,) = temporary.iterdir()
    assert ended.out.endswith(f"\nto run it: chkpt run {kept}/demo.toml --load demo --store 's p'\n")
    shutil.rmtree(kept)


def test_store_and_keep(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "s").mkdir()
    ended = run(tmp_path, "--store", "s", "--keep", PYTHONIOENCODING="ascii")
    assert (ended.status, ended.err) == (0, "")
    assert "$ chkpt inspect demo --store s" in ended.out
    assert ended.out.count("\n+ ") == 17
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    with Reader.open(tmp_path / "s" / "demo.zst") as reader:
        assert reader.header["machine"] == "demo"
    (kept,) = temporary.iterdir()
    assert f"kept: {kept}" in ended.out
    assert sorted(path.name for path in kept.iterdir()) == ["demo.toml", "disk.img", "run-0.log", "run-1.log"]
    assert (kept / "disk.img").read_bytes() == trace.disk()
    for path in kept.iterdir():
        path.unlink()
    kept.rmdir()


def test_a_long_way_to_temporary_files_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with stage.open_stage(keep=False) as opened:
        assert opened.directory.parent == Path("/tmp")
        assert opened.directory.is_dir()
    assert not opened.directory.exists()


def test_a_stage_leaves_signals_alone_outside_the_main_thread(temporary: Path) -> None:
    opened: list[Path] = []

    def use() -> None:
        with stage.open_stage(keep=False) as one:
            opened.append(one.directory)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert [path.parent for path in opened] == [temporary]
    assert signal.getsignal(signal.SIGINT) is before


def test_signals_are_as_they_were_after_it() -> None:
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stage.open_stage(keep=False):
            assert signal.getsignal(signal.SIGTERM) is not before
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


# -- as it should not go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # before the cut, and after it
        (("> inb 0x3fd\n< OK 0x0061\n", "> inb 0x3fd\n< OK 0x0060\n"), ", inb 0x3fd: OK 0x0060 expected, OK 0x0061"),
        (("> inb 0x3fd\n< OK 0x0060\n", "> inb 0x3fd\n< OK 0x0061\n"), ", inb 0x3fd: OK 0x0061 expected, OK 0x0060"),
        (("< IRQ lower 0\n< OK 0x0084\n", "< OK 0x0084\n"), ", inb 0x20: OK 0x0084 expected, IRQ lower 0, OK 0x0084"),
        (("> inb 0x3fd\n", "> nonsense\n"), ", nonsense: OK 0x0061 expected, FAIL Unknown command 'nonsense'"),
    ],
)
def test_the_first_answer_that_differs_ends_it(
    change: tuple[str, str], message: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = trace.DEMO.read_text()
    assert change[0] in text
    wrong = tmp_path / "wrong.trace"
    wrong.write_text(text.replace(*change, 1))
    monkeypatch.setattr(trace, "DEMO", wrong)
    ended = chkpt(capsys, "demo", "--trace", "--store", str(tmp_path / "s"))
    assert ended.status == 1
    assert ended.err.startswith("chkpt: the answer differs from QEMU's: exchange ")
    assert ended.err.endswith(f"{message}\n")
    assert "answers compared" not in ended.out


STAND_IN = """
import os, socket, sys, time
what, path = sys.argv[1], sys.argv[-1].removeprefix("unix:")
if what == "ends":
    sys.exit("no such luck")
client = socket.socket(socket.AF_UNIX)
if what != "waits":
    client.connect(path)
if what == "ends later":
    sys.exit("a little later")
if what == "hangs":
    time.sleep(60)
print("running", flush=True)
if what == "hangs up":
    client.recv(1)
if what in {"closes", "hangs up"}:
    client.close()
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("ends", "the machine ended with status 1: no such luck"),
        ("waits", "the machine does not connect"),
        ("ends later", "the machine ended with status 1: a little later"),
        ("hangs", "the machine does not start"),
        ("closes", "the machine "),
        ("hangs up", "the machine "),
        ("is silent", "the machine does not answer"),
    ],
)
def test_a_machine_that_fails_is_reported(
    what: str, message: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "COMMAND", (sys.executable, "-c", STAND_IN, what))
    impatient(monkeypatch, message)
    ended = chkpt(capsys, "demo", "--trace", "--store", str(tmp_path))
    assert ended.status == 1
    assert ended.err.startswith(f"chkpt: {message}")


def test_a_save_that_fails_is_reported(capsys: Capture) -> None:
    ended = chkpt(capsys, "demo", "--trace", "--store", "/proc/no/store")
    assert ended.status == 1
    assert ended.err.startswith("chkpt: /proc/no/store: ")
    assert "kill" not in ended.out


def test_a_command_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "COMMAND", (sys.executable, "-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(stage, "PATIENCE", 0.1)
    with pytest.raises(ChkptError, match="chkpt save has not ended"), stage.open_stage(keep=False) as opened:
        opened.run("save")


@pytest.mark.parametrize(
    ("number", "lines"),
    [
        pytest.param(number, lines, marks=[pytest.mark.long] * (at != turn))
        for at, number in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        for turn, lines in enumerate((0, 2, 12))
    ],
)
def test_an_interrupted_demo_leaves_nothing(number: signal.Signals, lines: int, tmp_path: Path) -> None:
    with subprocess.Popen(DEMO, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            process.stdout.readline()
        if not lines:
            time.sleep(
                0.3
            )  # at any time at all: of an interpreter that only begins, nothing is said but what it leaves
        process.send_signal(number)
        assert process.wait(60) == 128 + number or not lines
        assert b"Traceback" not in process.stderr.read() or not lines


def test_a_demo_whose_reader_has_gone_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(DEMO, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 1
        assert process.stderr.read() == b""
