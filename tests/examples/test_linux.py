"""Debian's kernel boots to user space, reads and writes our disk, and goes on from wherever it was saved."""

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.snapshot import dumps
from tests.guests import HERE, SECOND, execution, linux, output
from tests.support.rig import saved


@dataclass
class Boot:
    """A run, the snapshots that were taken of it with what it had said by then, and what remains of it."""

    files: Path
    said: bytes
    until: int
    remains: dict[str, object]
    cuts: dict[str, tuple[Path, bytes]]


def run_to(machine: Machine, text: bytes, ticks: int = 0) -> None:
    """Run until the guest has said `text`, and `ticks` more."""
    said: Any = machine.devices.frontends["char"].backends["com1"]
    machine.run(until=linux.LATE, enough=lambda: text in said.output)
    assert text in said.output, bytes(said.output[-2000:]).decode(errors="replace")
    machine.run(ticks=execution(machine).cpu.ticks + ticks)


def boot(files: Path, cuts: dict[str, tuple[bytes, int]], *, until: int | None = None) -> Boot:
    """Boot to the end; take a snapshot at each of the cuts on the way."""
    machine = Machine(linux.config(files))
    taken: dict[str, tuple[Path, bytes]] = {}
    for name, (text, ticks) in cuts.items():
        run_to(machine, text, ticks)
        path = files / f"{name}.zst"
        path.write_bytes(dumps(saved(machine)))
        taken[name] = path, bytes(getattr(machine.devices.frontends["char"].backends["com1"], "output"))  # noqa: B009
    if until is None:
        run_to(machine, linux.DONE)
        until = machine.clock.now // SECOND * SECOND + 20 * SECOND  # beyond the last cut
    machine.run(until=until)
    result = Boot(files, output(machine), until, linux.remains(machine), taken)
    machine.close()
    return result


def assert_goes_on(whole: Boot, cut: str) -> None:
    """Hold the run that goes on from a snapshot in another process against the whole one."""
    path, said = whole.cuts[cut]
    command = [sys.executable, "-m", "tests.guests.linux", str(whole.files), str(path), str(whole.until)]
    ended = subprocess.run(command, check=True, capture_output=True, cwd=HERE.parents[1])
    rest = json.loads(ended.stdout)
    assert said + rest.pop("output").encode("latin-1") == whole.said
    assert rest == whole.remains


LATE = {
    "disk": (b"mounted filesystem without journal", 300_000_000),
    "idle": (linux.DONE, 10_000_000),  # some 16 s of a clock that skips what is idle
}
"""Cuts of which little is left to run."""

ALL = {
    "probing": (b"pata_legacy", 1_000_000),
    "user space": (b"is in user space", 5_000_000),
    **LATE,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return linux.files(tmp_path_factory.mktemp("linux"))


@pytest.fixture(scope="module")
def whole(files: Path) -> Boot:
    return boot(files, LATE)


@pytest.mark.timeout(600)
def test_the_kernel_boots_reads_the_disk_and_writes_a_file(whole: Boot) -> None:
    assert b"guest: Linux 6." in whole.said
    assert b"guest: noise: OK" in whole.said  # sha256sum in the guest, against mke2fs's file
    assert b"cannot be loaded" not in whole.said
    base = (whole.files / "disk.img").read_bytes()
    assert whole.remains["disk"] != hashlib.sha256(base).hexdigest()
    machine = Machine(linux.config(whole.files), boot=False)
    from chkpt.snapshot import loads

    machine.load(loads(whole.cuts["idle"][0].read_bytes()))
    disk: Any = machine.devices.frontends["block"].backends["ide0.0"]
    assert b"written by 6." in disk.read(0, disk.size)
    assert b"written by 6." not in base
    machine.close()


@pytest.mark.timeout(600)
def test_a_kernel_goes_on_in_another_process(whole: Boot) -> None:
    assert_goes_on(whole, "disk")


@pytest.mark.long
@pytest.mark.parametrize("cut", ALL)
def test_a_kernel_goes_on_from_everywhere_as_if_nobody_had_stopped_it(files: Path, cut: str, uncut: Boot) -> None:
    saved_run = boot(files, {cut: ALL[cut]}, until=uncut.until)
    assert saved_run.remains == uncut.remains
    assert_goes_on(saved_run, cut)


@pytest.fixture(scope="module")
def uncut(files: Path) -> Boot:
    return boot(files, {})


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_what_counts_the_blocks_makes_no_difference_to_a_kernel(files: Path) -> None:
    ends = []
    for model in ("unicorn", "unicorn-portable"):  # the second takes some twenty times as long
        config = linux.config(files)
        machine = Machine(parse({**config.table, "cpu": {"model": model}}, files))
        run_to(machine, linux.DONE)
        ends.append((linux.remains(machine), output(machine)))
        machine.close()
    assert ends[0] == ends[1]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_kernel_that_unpacks_itself_is_cut_in_the_middle_of_that(files: Path) -> None:
    never_saved = Machine(linux.config(files, unpack="guest"))
    run_to(never_saved, linux.DONE)
    until = never_saved.clock.now // SECOND * SECOND + 2 * SECOND
    never_saved.run(until=until)
    machine = Machine(linux.config(files, unpack="guest"))
    machine.run(ticks=60_000_000)
    rip = execution(machine).save().rip
    assert rip < 1 << 32  # it is the decompressor that runs: the kernel itself runs at the top
    path = files / "unpacking.zst"
    path.write_bytes(dumps(saved(machine)))
    machine.run(until=until)
    assert linux.remains(machine) == linux.remains(never_saved)
    whole = Boot(files, output(machine), until, linux.remains(machine), {"unpacking": (path, b"")})
    never_saved.close()
    machine.close()
    assert_goes_on(whole, "unpacking")
