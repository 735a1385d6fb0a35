"""Every kind of bad input gives one line on stderr and the right exit status, and changes nothing."""

import dataclasses
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chkpt.cli import main
from chkpt.context import Checkpoint, Context
from chkpt.service import directory
from chkpt.snapshot import Reader, dumps, loads
from tests.support.handmade import TRAILER_SIZE, trailer
from tests.support.processes import Outcome, chkpt, refused, running
from tests.support.served import launch, serving


@pytest.fixture
def good(home: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Path]:
    """A paused machine that runs, and a snapshot of it; at the end the machine is still the one in the snapshot."""
    with serving(launch()) as machine:
        machine.pause()
        assert chkpt(capsys, "save", "good").status == 0
        yield home / "snapshots" / "good.zst"
        assert chkpt(capsys, "save", "after").status == 0
        assert chkpt(capsys, "diff", "good", "after").status == 0
    assert sorted(path.name for path in (home / "snapshots").iterdir()) == ["after.zst", "good.zst"]


def load(capsys: pytest.CaptureFixture[str], data: bytes) -> Outcome:
    """Load bytes as a file."""
    bad = Path("bad.zst")
    bad.write_bytes(data)
    return chkpt(capsys, "load", bad)


# -- a snapshot where something else is meant, and the other way round -------------------------------------------------


def test_file_name_of_a_snapshot_in_the_store_is_answered_with_its_name(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["inspect"], ["diff", "good"], ["compat"], ["load"], ["run", "--load"]):
        said = refused(chkpt(capsys, *command, "good.zst"), 3)
        assert said.endswith("good.zst: there is no such snapshot; the store snapshots has one: give its name, good")


def test_snapshot_in_place_of_a_toml_is_answered_with_the_option_for_it(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cure = "to run a snapshot: chkpt run --load"
    assert refused(chkpt(capsys, "run", "good"), 3).endswith(f"has a snapshot of that name; {cure} good")
    assert refused(chkpt(capsys, "run", "snapshots/good.zst"), 2).endswith(f"{cure} snapshots/good.zst")


# -- files ------------------------------------------------------------------------------------------------------------


def test_no_file(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("load", "inspect", "rm"):
        assert "absent.zst" in refused(chkpt(capsys, command, "./absent.zst"), 3)
    assert "absent.zst" in refused(chkpt(capsys, "run", "--load", "./absent.zst"), 3)


def test_not_a_snapshot(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (b"", b"text", os.urandom(4096), bytes(100), b"\x28\xb5\x2f\xfd" * 40):
        assert "not a chkpt snapshot" in refused(load(capsys, content), 4)
    assert refused(chkpt(capsys, "inspect", "/etc/passwd"), 4) == "/etc/passwd: not a chkpt snapshot"


def test_truncated_at_every_64th_byte(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = good.read_bytes()
    for length in range(0, len(data), 64):
        assert "bad.zst" in refused(load(capsys, data[:length]), 4)


def test_a_bit_flipped_in_every_section(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = good.read_bytes()
    with Reader(data) as reader:
        sections = reader.sections
    assert len(sections) == 8
    for section in sections:
        flipped = bytearray(data)
        flipped[section.offset + section.stored_size // 2] ^= 0x04
        message = refused(load(capsys, bytes(flipped)), 4)
        assert f"section {'/'.join(section.path)} at offset {section.offset}" in message
        assert "restore it from a copy" in message


def test_a_newer_format(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = good.read_bytes()
    with Reader(data) as reader:
        end = len(data) - TRAILER_SIZE
        offset = max(section.offset + section.stored_size for section in reader.sections)
    newer = data[:end] + trailer(offset, data[offset:end], number=3)
    assert "format 3" in refused(load(capsys, newer), 4)


# -- what is in a file ------------------------------------------------------------------------------------------------


def changed(good: Path, device: str, **fields: object) -> bytes:
    """Return the snapshot with some fields of a device's context replaced."""
    checkpoint: Checkpoint = loads(good.read_bytes())
    devices = checkpoint.contexts["devices"]
    context: Context = devices.contexts[device]
    devices.contexts = {**devices.contexts, device: dataclasses.replace(context, **fields)}  # type: ignore[arg-type]  # any
    return dumps(checkpoint)


def test_a_newer_device_version(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(load(capsys, changed(good, "pit", version=99)), 4)
    assert "devices/pit is version 99" in message


def test_the_wrong_device_type(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(load(capsys, changed(good, "pit", type="hpet")), 4)
    assert "devices/pit is of type 'hpet', but pit in this machine is of pit" in message


def test_a_value_out_of_range(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = loads(good.read_bytes()).contexts["devices"].contexts["pit"].values
    message = refused(load(capsys, changed(good, "pit", values={**values, "port_b": 16})), 4)
    assert "devices/pit.port_b is 16, not within 0 to 15" in message


def test_an_over_long_name(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = loads(good.read_bytes())
    devices = checkpoint.contexts["devices"]
    devices.values["names"] = b"x" * 32 + bytes(devices.values["names"])[32:]  # type: ignore[arg-type]  # they are bytes
    assert "entry 0 of names cannot be a device's name" in refused(load(capsys, dumps(checkpoint)), 4)
    Path("long.toml").write_text(f"[[device]]\ntype = 'pit'\nname = '{'x' * 32}'\n")
    assert "cannot be a device's name" in refused(chkpt(capsys, "run", "long.toml"), 2)
    assert "x" * 8 in refused(chkpt(capsys, "save", "x" * 300), 2)


# -- machines ---------------------------------------------------------------------------------------------------------


def test_an_unknown_toml_key(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, words in (
        ("nmae = 'x'\n", "unknown key nmae; did you mean name?"),
        ("[[device]]\ntype = 'serial'\nirk = 4\n", "unknown key irk; did you mean irq?"),
        ("[[device]]\ntype = 'ide'\n[[device.drive]]\nunit = 0\nmodle = 'x'\nsize = '1M'\n", "did you mean model?"),
        ("[[device]]\ntype = 'serial'\nbackend = { type = 'pty', lnik = 'x' }\n", "did you mean link?"),
    ):
        Path("machine.toml").write_text(text)
        assert words in refused(chkpt(capsys, "run", "machine.toml"), 2)
    assert left() == []


def test_a_missing_image(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("machine.toml").write_text(
        "[[device]]\ntype = 'ide'\n[[device.drive]]\nunit = 0\nmedia = 'disk'\nimage = 'none.img'\n"
    )
    message = refused(chkpt(capsys, "run", "machine.toml"), 1)
    assert str(home / "none.img") in message
    assert left() == []


def test_a_socket_in_use(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    qtest = f"unix:{home}/q.sock,server=on,wait=off"
    with running("--name", "first", "--qtest", qtest) as first:
        message = refused(chkpt(capsys, "run", "--name", "second", "--qtest", qtest), 1)
        assert f"{home}/q.sock: another process listens there already" in message
        assert left() == ["first"]
        assert first.end().status == 0


def test_two_machines_running_and_none_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch(name="one")), serving(launch(name="two")):
        for command in (["save", "x"], ["pause"], ["stop"], ["reset"], ["console"]):
            message = refused(chkpt(capsys, *command), 5)
            assert "one" in message
            assert "two" in message
            assert "-m" in message
    assert not Path("snapshots").exists()


def test_a_name_taken(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = good.read_bytes()
    assert "--force" in refused(chkpt(capsys, "save", "good"), 1)
    assert good.read_bytes() == before
    assert "m is running" in refused(chkpt(capsys, "run", "--name", "m"), 1)


@pytest.fixture
def small(home: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = home / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(home: Path, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch()) as machine:
        machine.pause()
        (small / "filler").write_bytes(bytes(64 * 1024))
        message = refused(chkpt(capsys, "save", small / "x.zst"), 1)
        assert str(small / "x.zst") in message
        assert "No space left on device" in message
        assert [path.name for path in small.iterdir()] == ["filler"]
        (small / "filler").unlink()
        assert chkpt(capsys, "save", small / "x.zst").status == 0


def test_a_read_only_directory(home: Path, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch()):
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        message = refused(chkpt(capsys, "save", small / "x.zst"), 1)
        assert str(small / "x.zst") in message
        assert "Read-only file system" in message
        assert "Read-only file system" in refused(chkpt(capsys, "save", "x", "--store", small / "store"), 1)
        assert list(small.iterdir()) == []


def test_a_file_that_may_not_grow(home: Path) -> None:
    """The limit on a process's files is met in its middle: the machine goes on, and no part of a file stays."""
    with running("--name", "m") as machine:
        subprocess.run(["prlimit", f"--pid={machine.process.pid}", "--fsize=512:"], check=True)
        with pytest.raises(SystemExit) as ended:
            main(["save", "x"])
        assert ended.value.code == 1
        assert list((home / "snapshots").iterdir()) == []
        subprocess.run(["prlimit", f"--pid={machine.process.pid}", "--fsize=unlimited:"], check=True)
        with pytest.raises(SystemExit) as ended:
            main(["save", "x"])
        assert ended.value.code == 0
        assert machine.end(signal.SIGTERM).status == 0


def left() -> list[str]:
    """Return the names of the directories that machines have left."""
    root = directory.root()
    return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.exists() else []
