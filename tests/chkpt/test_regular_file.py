"""A path that leads to what has no end, or to nothing, costs nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chkpt.errors import ChkptError, ConfigError, NotFoundError, StorageError
from chkpt.machine.board.memory import Memory
from chkpt.machine.config import MAX_TOML, FirmwareConfig, KernelConfig, read
from chkpt.machine.firmware import open_firmware
from chkpt.machine.kernel import Kernel
from chkpt.regular_file import NotRegularError, TooLongError, read_regular

MEMORY = 4 << 20

LARGE = 3 << 30
"""Bytes of a file of nothing: to read it would take that much memory."""

READS: dict[str, Callable[[Path], object]] = {
    "toml": read,
    "bios": lambda path: open_firmware(FirmwareConfig(bios=str(path)), Memory(MEMORY)),
    "kernel": lambda path: Kernel(KernelConfig(str(path)), MEMORY).prepare(),
    "initrd": lambda path: Kernel(KernelConfig("/proc/self/comm", str(path)), MEMORY).prepare(),
}


@pytest.fixture(params=READS)
def reads(request: pytest.FixtureRequest) -> Callable[[Path], object]:
    return READS[request.param]


def test_a_device_without_an_end_is_refused(reads: Callable[[Path], object]) -> None:
    with pytest.raises(StorageError, match="/dev/zero: not a regular file"):
        reads(Path("/dev/zero"))


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(reads: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StorageError, match=r"fifo: (not a regular file|a pipe without a writer)$"):
        reads(tmp_path / "fifo")


def test_a_file_larger_than_what_may_be_is_not_read(reads: Callable[[Path], object], tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE)
    with pytest.raises(ConfigError, match=rf"large.* {LARGE} bytes[;,] "):
        reads(tmp_path / "large")


@pytest.mark.parametrize("name", ["nowhere", "a\0b"])
def test_a_path_that_no_file_has_is_not_found(reads: Callable[[Path], object], name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        reads(tmp_path / name)


def test_a_toml_may_come_from_a_pipe() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b'name = "piped"\n')
        os.close(writing)
        assert read(Path(f"/dev/fd/{reading}")).name == "piped"
    finally:
        os.close(reading)


def test_a_pipe_whose_writer_has_more_to_say_is_read_up_to_the_limit(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, bytes(1001))  # and it stays open
        with pytest.raises(TooLongError, match="the limit is 1000"):
            read_regular(f"/dev/fd/{reading}", 1000, pipe=True)
    finally:
        os.close(reading)
        os.close(writing)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotRegularError, match="not a regular file"):
        read_regular(tmp_path / "fifo", 1000)


def test_a_toml_with_values_too_deep_in_each_other_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    for text in ("a = " + "[" * 50_000, "cpu" + ".a" * 3000 + " = 1"):
        path.write_text(text)
        with pytest.raises(ChkptError, match=r"deep\.toml: not a machine's TOML: .*too deep"):
            read(path)


def test_a_file_of_a_size_that_it_does_not_tell_is_read_up_to_the_limit() -> None:
    assert read_regular("/proc/self/comm", MAX_TOML)
    with pytest.raises(TooLongError, match="the limit is 1"):
        read_regular("/proc/self/comm", 1)
