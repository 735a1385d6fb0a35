"""`chkpt media`, and `--drive` of `load` and `run`: which disc is in, for the user and for the snapshot."""

import json
from pathlib import Path

import pytest

from tests.support.processes import chkpt, refused, running
from tests.support.served import launch, serving

TOML = """
name = "m"
[[device]]
type = "pic"
[[device]]
type = "ide"
name = "ide0"
[[device.drive]]
unit = 0
size = "64K"
[[device.drive]]
unit = 1
media = "cdrom"
image = "a.iso"
"""


@pytest.fixture
def toml(home: Path) -> Path:
    for name in "ab":
        (home / f"{name}.iso").write_bytes(name.encode() * 4096)
    (home / "m.toml").write_text(TOML)
    return home / "m.toml"


def test_drives_are_shown_and_a_disc_is_changed(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = toml.parent
    with running(toml):
        head, disk, disc = chkpt(capsys, "media").out.splitlines()
        assert head.split() == ["DRIVE", "MEDIUM", "SIZE", "TRAY"]
        assert disk.split() == ["ide0.0", "scratch", "64", "KiB", "-"]
        assert disc.split() == ["ide0.1", str(home / "a.iso"), "4", "KiB", "closed"]
        assert chkpt(capsys, "media", "ide0.1").out.splitlines()[1].split() == disc.split()
        outcome = chkpt(capsys, "media", "-m", "m", "ide0.1", "eject")
        assert outcome.out == "drive ide0.1 of machine m: the tray is open and empty\n"
        assert chkpt(capsys, "media", "ide0.1").out.splitlines()[1].split() == ["ide0.1", "-", "-", "open"]
        outcome = chkpt(capsys, "media", "ide0.1", "b.iso")  # a relative path is the caller's
        assert outcome.out == f"drive ide0.1 of machine m: {home / 'b.iso'}, 4 KiB\n"
        assert json.loads(chkpt(capsys, "media", "ide0.1", "b.iso", "--json").out)["medium"]["path"] == str(
            home / "b.iso"
        )
        assert [each["drive"] for each in json.loads(chkpt(capsys, "media", "--json").out)] == ["ide0.0", "ide0.1"]


def test_what_is_refused_is_said_on_one_line_with_its_status(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no machine is running" in refused(chkpt(capsys, "media"), 5)
    with running(toml):
        assert "is a hard disk" in refused(chkpt(capsys, "media", "ide0.0", "eject"), 2)
        assert "no drive ide9; there are: ide0.0, ide0.1" in refused(chkpt(capsys, "media", "ide9"), 3)
        assert "there are: ide0.0, ide0.1" in refused(chkpt(capsys, "media", "ide9", "eject"), 3)
        assert "there is no such image" in refused(chkpt(capsys, "media", "ide0.1", "absent.iso"), 3)
        assert "not a path of an image" in refused(chkpt(capsys, "media", "ide0.1", ""), 2)
        assert "--force goes with" in refused(chkpt(capsys, "media", "--force"), 2)
        assert chkpt(capsys, "media", "ide0.1").out.count("a.iso") == 1


def test_a_snapshot_has_the_disc_that_was_put_in(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(toml):
        assert chkpt(capsys, "media", "ide0.1", "b.iso").status == 0
        assert chkpt(capsys, "save", "changed").status == 0
    with running("--load", "changed", "--drive", "ide0.1=b.iso"):
        assert "b.iso" in chkpt(capsys, "media", "ide0.1").out
    with running("--load", "changed", "--trust-config"):
        assert "b.iso" in chkpt(capsys, "media", "ide0.1").out
    with running("--load", "changed", "--drive", "ide0.1=none"):
        assert chkpt(capsys, "media", "ide0.1").out.splitlines()[1].split() == ["ide0.1", "-", "-", "open"]
    message = refused(chkpt(capsys, "run", "--load", "changed"), 2)
    assert "--drive ide0.1=PATH" in message


def test_a_load_brings_a_disc_or_leaves_it_out(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(toml):
        assert chkpt(capsys, "save", "a").status == 0
        assert chkpt(capsys, "media", "ide0.1", "b.iso").status == 0
        assert "give the image that was there" in refused_last(chkpt(capsys, "load", "a").err)
        assert "b.iso" in chkpt(capsys, "media", "ide0.1").out
        assert chkpt(capsys, "load", "a", "--drive", "ide0.1=a.iso").status == 0
        assert "a.iso" in chkpt(capsys, "media", "ide0.1").out
        assert chkpt(capsys, "load", "a", "--drive", "ide0.1=none").status == 0
        assert chkpt(capsys, "media", "ide0.1").out.splitlines()[1].split() == ["ide0.1", "-", "-", "open"]
        for wrong in ("ide0.1", "ide0.1=", "=a.iso"):
            assert "write ide0.0=PATH" in refused(chkpt(capsys, "load", "a", "--drive", wrong), 2)


def refused_last(err: str) -> str:
    return err.splitlines()[-1]


def test_a_machine_without_drives_has_nothing_to_show(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del home
    with serving(launch({"type": "pic"})):
        assert chkpt(capsys, "media").out == ""
        assert json.loads(chkpt(capsys, "media", "--json").out) == []
