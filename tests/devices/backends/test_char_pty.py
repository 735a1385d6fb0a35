"""`pty`: readers that come, go, come back, and do not read."""

import os
import stat
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from chkpt.errors import StorageError
from chkpt_devices.backends.char_pty import Pty, PtyConfig
from tests.devices.backends.terminal import Terminal, is_awake, read_exactly, run, settle
from tests.support.descriptors import none_left


@pytest.fixture
def pty() -> Iterator[Pty]:
    backend = Pty(PtyConfig())
    yield backend
    backend.close()


def reader(pty: Pty) -> int:
    return os.open(pty.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)


def drain(descriptor: int) -> bytes:
    data = bytearray()
    while True:
        try:
            data += os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return bytes(data)


def test_bytes_go_both_ways_unchanged(pty: Pty) -> None:
    terminal = Terminal(pty, room=300)
    slave = reader(pty)
    every = bytes(range(256))
    os.write(slave, every)
    run(pty, lambda: len(terminal.received) == 256)
    assert terminal.received == every
    assert terminal.send(every)
    assert read_exactly(slave, 256) == every
    settle(pty)
    os.close(slave)


def test_the_terminal_is_its_owners_alone(pty: Pty) -> None:
    assert stat.S_IMODE(Path(pty.path).stat().st_mode) == 0o600


def test_the_terminal_is_raw(pty: Pty) -> None:
    slave = reader(pty)
    _, _, _, lflag, *_ = termios.tcgetattr(slave)
    assert not lflag & (termios.ECHO | termios.ICANON | termios.ISIG)
    os.close(slave)


def test_without_a_reader_output_is_dropped_and_the_run_loop_sleeps(pty: Pty) -> None:
    terminal = Terminal(pty)
    assert all(terminal.send(b"x" * 16) for _ in range(5000))
    settle(pty)
    slave = reader(pty)
    assert drain(slave) == b""
    os.close(slave)


def test_a_reader_that_hangs_up_and_comes_back_is_served_again(pty: Pty) -> None:
    terminal = Terminal(pty, room=99)
    for turn in (b"one", b"two", b"three"):
        slave = reader(pty)
        os.write(slave, turn)
        run(pty, lambda turn=turn: terminal.received.endswith(turn))  # type: ignore[misc] # the default binds this turn's
        assert terminal.send(turn)
        assert read_exactly(slave, len(turn)) == turn
        os.close(slave)
        settle(pty)
        assert terminal.send(b"dropped")
    assert terminal.received == b"onetwothree"


def test_what_was_typed_before_a_hang_up_is_not_lost(pty: Pty) -> None:
    terminal = Terminal(pty, room=3)
    slave = reader(pty)
    os.write(slave, b"abcdef")
    os.close(slave)
    run(pty, lambda: not terminal.free)
    assert not is_awake(pty)
    terminal.free = 9
    run(pty, lambda: terminal.received == b"abcdef")
    settle(pty)


def test_a_reader_that_does_not_read_blocks_the_line_and_gets_every_byte(pty: Pty) -> None:
    terminal = Terminal(pty)
    slave = reader(pty)
    sent = terminal.fill()
    assert 0 < len(terminal.unsent) <= 16
    assert not is_awake(pty)
    received = bytearray()
    while terminal.unsent or len(received) < len(sent):
        received += drain(slave)
        if is_awake(pty):
            pty.poll()
    assert received == sent
    os.close(slave)


def test_a_reader_that_hangs_up_while_output_waits_frees_the_line(pty: Pty) -> None:
    terminal = Terminal(pty, room=0)
    slave = reader(pty)
    terminal.fill()
    assert not is_awake(pty)
    os.close(slave)
    run(pty, lambda: not terminal.unsent)
    settle(pty)


def test_a_full_line_does_not_keep_the_run_loop_awake_for_input_without_room(pty: Pty) -> None:
    terminal = Terminal(pty, room=0)
    slave = reader(pty)
    os.write(slave, b"typed")
    terminal.fill()
    assert not is_awake(pty)
    terminal.free = 5
    run(pty, lambda: terminal.received == b"typed")
    os.close(slave)


def test_a_link_leads_to_the_terminal_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "com1"
    path.symlink_to("/dev/pts/999999")  # what a run that was killed leaves behind
    backend = Pty(PtyConfig(link=str(path)))
    assert str(path.readlink()) == backend.path
    backend.close()
    assert not path.is_symlink()


def test_a_link_that_somebody_else_has_taken_over_stays(tmp_path: Path) -> None:
    path = tmp_path / "com1"
    first, second = Pty(PtyConfig(link=str(path))), Pty(PtyConfig(link=str(path)))
    first.close()
    assert str(path.readlink()) == second.path
    second.close()


@pytest.mark.parametrize("obstacle", ["file", "other link", "no directory"])
def test_a_link_that_cannot_be_made_is_named_and_nothing_stays_open(obstacle: str, tmp_path: Path) -> None:
    path = tmp_path / "com1"
    if obstacle == "file":
        path.write_text("precious")
    elif obstacle == "other link":
        path.symlink_to("elsewhere")
    else:
        path = tmp_path / "missing" / "com1"
    with none_left(), pytest.raises(StorageError, match=r"com1: .*; (remove it|name a link)"):
        Pty(PtyConfig(link=str(path)))
    assert path.is_symlink() == (obstacle == "other link")


def test_a_host_without_terminals_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[int, int]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "openpty", refuse)
    with pytest.raises(StorageError, match=r"No space left on device; is /dev/pts mounted\?"):
        Pty(PtyConfig())
