"""The guest that comes with chkpt does the same work where others start it: under SeaBIOS, and on a live QEMU."""

import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from chkpt_devices.guests import HERE
from tests.guests import asked, key, output
from tests.guests.board import board, line, run_until, said

QEMU = "qemu-system-x86_64"
QUESTION = b"(q: quit)? "
PATIENCE = 60


def work(text: bytes) -> list[bytes]:
    """Return what the guest said of two rounds, but for the ticks they took."""
    rounds = text[text.index(QUESTION) :].replace(b"\r", b"").splitlines()
    return [re.sub(rb", tick \d+", b"", each) for each in rounds]


@pytest.fixture(scope="module")
def expected() -> list[bytes]:
    """What it says in the machine of `chkpt demo`."""
    machine = asked()
    key(machine, "2")
    result = work(output(machine))
    machine.close()
    return result


def test_it_boots_under_seabios(expected: list[bytes]) -> None:
    machine = board({"unit": 0, "media": "disk", "backend": {"type": "guest", "name": "demo"}})
    run_until(machine, lambda: said(machine).endswith(QUESTION))
    line(machine).feed(b"2")
    run_until(machine, lambda: said(machine).count(QUESTION) == 2)
    assert work(said(machine)) == expected
    machine.close()


def read_to(process: "subprocess.Popen[bytes]", count: int, text: bytes) -> bytes:
    """Read until the guest has asked so often."""
    assert process.stdout is not None
    end = time.monotonic() + PATIENCE
    while text.count(QUESTION) < count:
        ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
        assert ready, f"nothing more after {text!r}"
        part = process.stdout.read(1)
        assert part, f"QEMU ended after {text!r}"
        text += part
    return text


def test_it_does_the_same_on_qemu(expected: list[bytes], tmp_path: Path) -> None:
    if shutil.which(QEMU) is None:
        pytest.skip(f"{QEMU} is not installed: apt-get install --no-install-recommends qemu-system-x86")
    image = tmp_path / "demo.img"
    image.write_bytes((HERE / "demo.bin").read_bytes().ljust(1 << 20, b"\0"))
    drive = f"file={image},format=raw,if=ide"
    debug_exit = "isa-debug-exit,iobase=0x501,iosize=2"
    command = [QEMU, "-M", "isapc", "-m", "16", "-nodefaults", "-display", "none", "-serial", "stdio"]
    with subprocess.Popen(
        [*command, "-drive", drive, "-device", debug_exit],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    ) as process:
        try:
            assert process.stdin is not None
            text = read_to(process, 1, b"")
            process.stdin.write(b"2")
            text = read_to(process, 2, text)
            process.stdin.write(b"q")
            assert process.wait(PATIENCE) == 1  # isa-debug-exit, with 0
        finally:
            process.kill()
    assert work(text) == expected
