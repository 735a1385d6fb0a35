"""`file` and `stdio`: real files, pipes and terminals."""

import logging
import os
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from chkpt.errors import StorageError
from chkpt_devices.backends.char_stream import FileConfig, StdioConfig, Stream, open_file, open_stdio
from tests.devices.backends.terminal import Terminal, is_awake, read_exactly, run, settle
from tests.support.descriptors import none_left

# -- file -------------------------------------------------------------------------------------------------------------


def test_a_file_is_made_for_its_owner_alone_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in (b"first ", b"second"):
        stream = open_file(FileConfig(str(path)))
        assert Terminal(stream).send(text)
        stream.close()
    assert path.read_bytes() == b"first second"
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_input_file_is_read_as_there_is_room_and_once(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(range(40)))
    stream = open_file(FileConfig(str(tmp_path / "out"), str(tmp_path / "in")))
    terminal = Terminal(stream, room=16)
    run(stream, lambda: not terminal.free)
    assert (bytes(terminal.received), stream.fileno()) == (bytes(range(16)), None)
    terminal.free = 100
    run(stream, lambda: len(terminal.received) == 40)
    settle(stream)
    assert (bytes(terminal.received), stream.fileno()) == (bytes(range(40)), None)
    stream.close()


def test_an_input_fifo_goes_on_after_a_writer_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    stream = open_file(FileConfig(str(tmp_path / "out"), str(path)))
    terminal = Terminal(stream)
    for text in (b"one", b"two"):
        assert not is_awake(stream)
        path.write_bytes(text)
        run(stream, lambda text=text: terminal.received.endswith(text))  # type: ignore[misc] # the default binds the text of this turn
    settle(stream)
    assert terminal.received == b"onetwo"
    stream.close()


def test_an_output_fifo_that_nobody_empties_blocks(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    stream = open_file(FileConfig(str(path)))
    terminal = Terminal(stream)
    sent = terminal.fill()
    assert not is_awake(stream)
    received = os.read(reader, 1 << 20)
    run(stream, lambda: not terminal.unsent)
    assert received + os.read(reader, 1 << 20) == sent
    os.close(reader)
    stream.close()


@pytest.mark.parametrize("config", [FileConfig("no/such/out"), FileConfig("out", "no-such-input"), FileConfig(".")])
def test_a_file_that_cannot_be_opened_is_named(
    config: FileConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with none_left(), pytest.raises(StorageError, match=r"^(no/such/out|no-such-input|\.): .*; name a file"):
        open_file(config)


def test_a_full_disk_drops_the_output_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    stream = open_file(FileConfig("/dev/full"))
    terminal = Terminal(stream)
    with caplog.at_level(logging.WARNING):
        assert all(terminal.send(b"lost") for _ in range(3))
    assert [record.getMessage() for record in caplog.records] == [
        "/dev/full: output is dropped: No space left on device"
    ]
    stream.close()


# -- stdio ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pipes() -> Iterator[tuple[Stream, int, int]]:
    """Standard input and output as two pipes that wait, with our ends: what writes the one and reads the other."""
    source, typed = os.pipe()
    shown, sink = os.pipe()
    os.set_blocking(shown, False)
    stream = open_stdio(StdioConfig(), source, sink)
    yield stream, typed, shown
    stream.close()
    for descriptor in (source, typed, shown, sink):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_stdio_moves_bytes_both_ways(pipes: tuple[Stream, int, int]) -> None:
    stream, typed, shown = pipes
    terminal = Terminal(stream)
    os.write(typed, b"in")
    run(stream, lambda: terminal.received == b"in")
    assert terminal.send(b"out")
    assert os.read(shown, 99) == b"out"
    stream.poll()  # must not wait for input
    settle(stream)


def test_stdio_blocks_while_a_pipe_is_full_and_loses_nothing(pipes: tuple[Stream, int, int]) -> None:
    stream, _, shown = pipes
    terminal = Terminal(stream, room=0)
    sent = terminal.fill()
    assert not is_awake(stream)
    received = bytearray(os.read(shown, 1 << 20))
    run(stream, lambda: not terminal.unsent)
    received += os.read(shown, 1 << 20)
    assert received == sent


def test_stdio_whose_reader_has_gone_drops_output(pipes: tuple[Stream, int, int]) -> None:
    stream, _, shown = pipes
    os.close(shown)
    assert Terminal(stream).send(b"lost")


def test_stdio_whose_reader_goes_while_output_waits_drops_it(pipes: tuple[Stream, int, int]) -> None:
    stream, _, shown = pipes
    terminal = Terminal(stream, room=0)
    terminal.fill()
    os.close(shown)
    run(stream, lambda: not terminal.unsent)
    settle(stream)


def test_the_end_of_standard_input_ends_the_input_alone(pipes: tuple[Stream, int, int]) -> None:
    stream, typed, shown = pipes
    terminal = Terminal(stream)
    os.write(typed, b"last")
    os.close(typed)
    run(stream, lambda: stream.fileno() is None)
    assert terminal.received == b"last"
    assert terminal.send(b"still")
    assert os.read(shown, 99) == b"still"


def test_a_terminal_passes_every_key_on_and_is_given_back_as_it_was() -> None:
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    stream = open_stdio(StdioConfig(), slave, slave)
    terminal = Terminal(stream)
    os.write(master, b"a\r\x04\x11")
    run(stream, lambda: len(terminal.received) == 4)
    assert terminal.received == b"a\r\x04\x11"
    terminal.send(b"echo")
    assert read_exactly(master, 4) == b"echo"
    stream.close()
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_a_terminal_that_goes_away_ends_the_input() -> None:
    master, slave = os.openpty()
    stream = open_stdio(StdioConfig(), slave, slave)
    terminal = Terminal(stream)
    os.close(master)
    run(stream, lambda: stream.fileno() is None)
    assert terminal.received == b""
    assert terminal.send(b"lost")
    stream.close()
    os.close(slave)


def test_closed_standard_output_is_refused() -> None:
    source, sink = os.pipe()
    os.close(sink)
    with pytest.raises(StorageError, match="standard output is closed"):
        open_stdio(StdioConfig(), source, sink)
    os.close(source)


def test_descriptors_that_are_not_ready_after_all_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    source, typed = os.pipe2(os.O_NONBLOCK)
    shown, sink = os.pipe2(os.O_NONBLOCK)
    monkeypatch.setattr(
        "chkpt_devices.backends.char_stream.is_ready", lambda *_: True
    )  # as when another reads before us
    stream = open_stdio(StdioConfig(), source, sink)
    terminal = Terminal(stream)
    stream.poll()
    sent = terminal.fill()
    received = os.read(shown, 1 << 20)
    os.write(typed, b"typed")
    run(stream, lambda: terminal.received and not terminal.unsent)
    assert terminal.received == b"typed"
    assert received + os.read(shown, 1 << 20) == sent
    stream.close()
    for descriptor in (source, typed, shown, sink):
        os.close(descriptor)
