"""`chkpt load` reports each device, and changes nothing if it is refused."""

import json
import re
from pathlib import Path

import pytest

from chkpt.context import Checkpoint
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.service.api.requests import SaveRequest
from chkpt.snapshot import Reader, dumps
from tests.support.processes import chkpt, refused
from tests.support.served import COM1, launch, serving, table


def test_load_by_name(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch()):
        assert chkpt(capsys, "save", "a").status == 0
        outcome = chkpt(capsys, "load", "a")
        assert (outcome.status, outcome.err) == (0, "")
        path = re.escape(str(home / "snapshots" / "a.zst"))
        assert re.fullmatch(rf"loaded machine m at \d+\.\d{{9}} s from {path}: pic, pit, com1, ide0\n", outcome.out)
        loaded = json.loads(chkpt(capsys, "load", "./snapshots/a.zst", "--only", "pit", "--json").out)
        assert loaded["loaded"] == ["pit"]
        assert [skip["name"] for skip in loaded["left"]] == ["pic", "com1", "ide0"]


def test_devices_that_do_not_fit_are_reported(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch({"type": "pit"}, COM1, name="old")):
        assert chkpt(capsys, "save", "a").status == 0
    with serving(launch({"type": "pit"}, {**COM1, "name": "com2"}, name="new")):
        outcome = chkpt(capsys, "load", "a")
        assert outcome.status == 0
        head, *rest = outcome.out.splitlines()
        assert head.endswith("a.zst: pit")
        assert rest == [
            "skipped: com1: this machine has no device com1",
            "left as it was: com2: not in the snapshot",
        ]
        message = refused(chkpt(capsys, "load", "a", "--strict"), 4)
        path = home / "snapshots" / "a.zst"
        assert message == f"{path}: refused by strict, nothing has changed: com1: this machine has no device com1"
        assert chkpt(capsys, "load", "a", "--strict", "--map", "com1=com2").out.endswith(": pit, com2\n")
        only = chkpt(capsys, "load", "a", "--skip", "pit", "--map", "com1=com2").out
        assert only.splitlines()[0].endswith(": com2")


def test_an_unknown_tag_is_reported(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch(COM1)) as machine:
        machine.save(SaveRequest(str(home / "a.zst")))
        with Reader.open(home / "a.zst") as reader:
            checkpoint = reader.checkpoint()
            checkpoint.contexts["devices"].contexts["com1"].values["surprise"] = 1
            (home / "b.zst").write_bytes(dumps(checkpoint))
        lines = chkpt(capsys, "load", "b.zst").out.splitlines()
        assert lines[1:] == ["skipped: unknown tag devices/com1.surprise"]
        assert "surprise" in refused(chkpt(capsys, "load", "b.zst", "--strict"), 4)


def test_what_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch()) as machine:
        machine.pause()
        assert chkpt(capsys, "save", "a").status == 0
        good = home / "snapshots" / "a.zst"
        data = bytearray(good.read_bytes())
        data[len(data) // 2] ^= 0x10
        (home / "flipped.zst").write_bytes(data)
        (home / "short.zst").write_bytes(data[:-9])
        (home / "text").write_text("no snapshot at all")
        (home / "empty").write_bytes(b"")
        for args, status, words in (
            (["absent"], 3, "absent.zst"),
            (["./absent/x.zst"], 3, "x.zst"),
            (["."], 2, "dot"),
            (["./"], 1, "directory"),
            (["./text"], 4, "text"),
            (["./empty"], 4, "empty"),
            (["flipped.zst"], 4, "flipped.zst"),
            (["short.zst"], 4, "short.zst"),
            (["a", "--only", "nothing"], 3, "no device nothing to load or skip"),
            (["a", "--skip", "nothing"], 3, "no device nothing to load or skip"),
            (["a", "--map", "pit"], 2, "--map pit: write OLD=NEW"),
            (["a", "--map", "pit="], 2, "write OLD=NEW"),
            (["a", "--map", "pit=a", "--map", "pit=b"], 2, "pit is already mapped to a"),
            (["a", "--map", "nothing=pit"], 3, "no device nothing in the snapshot to rename"),
            (["a", "--map", "pit=pic"], 2, "would both be loaded into pic"),
            (["a", "-m", "nobody"], 5, "no machine nobody is running"),
        ):
            assert words in refused(chkpt(capsys, "load", *args), status), args
        assert chkpt(capsys, "save", "b").status == 0
        same = chkpt(capsys, "diff", "a", "b")
        assert same.status == 0, same


def test_the_date_moves_on_if_the_user_asks(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch({"type": "cmos"})) as machine:
        checkpoint = Checkpoint()
        other = Machine(parse(table({"type": "cmos"})))
        other.save(checkpoint)
        checkpoint.header["created"] = "2026-01-01T00:00:00Z"
        (home / "a.zst").write_bytes(dumps(checkpoint))
        assert chkpt(capsys, "load", "a.zst").out.endswith(": cmos\n")
        said = chkpt(capsys, "load", "a.zst", "--time", "wall").out
        assert re.search(r": cmos, the date of cmos \d{7,} s later\n", said)
        said = chkpt(capsys, "load", "a.zst", "--time", "wall", "--skip", "cmos").out
        assert ": no devices, no date has moved on: no loaded device keeps a running date" in said
        assert chkpt(capsys, "load", "a.zst", "--time", "noon").status == 2
        assert machine.machine()["devices"] == ["cmos"]
    assert refused(chkpt(capsys, "run", "--time", "wall"), 2) == "--time goes with --load"
