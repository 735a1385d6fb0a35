"""`chkpt save`: where a snapshot goes, what is printed, and what is refused."""

import json
import re
import stat
from pathlib import Path

import pytest

from chkpt.cli.destination import make_save_request
from chkpt.errors import ChkptError
from chkpt.service.api.requests import SaveRequest
from chkpt.service.save import Destination
from chkpt.snapshot import Reader
from tests.support.processes import chkpt, refused
from tests.support.served import launch, serving


def test_name_path_and_stamp(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch()) as machine:
        machine.pause()
        outcome = chkpt(capsys, "save", "morning")
        path = home / "snapshots" / "morning.zst"
        size = path.stat().st_size
        assert (outcome.status, outcome.err) == (0, "")
        assert re.fullmatch(
            rf"saved machine m at \d+\.\d{{9}} s to {re.escape(str(path))}: pic, pit, com1, ide0, {size} bytes\n",
            outcome.out,
        )
        for given, expected in (("here.zst", "here.zst"), ("./plain", "plain"), (home / "abs", "abs")):
            assert chkpt(capsys, "save", given).status == 0
            with Reader.open(home / expected) as reader:
                assert reader.header["machine"] == "m"
        assert chkpt(capsys, "save").status == 0
        (stamped,) = [path.name for path in (home / "snapshots").iterdir() if path.name != "morning.zst"]
        assert re.fullmatch(r"m-\d{8}T\d{6}\.\d{3}Z\.zst", stamped)


def test_store_from_option_and_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(launch()):
        assert chkpt(capsys, "save", "a", "--store", "deep/store").status == 0
        assert stat.S_IMODE((home / "deep" / "store").stat().st_mode) == 0o700
        monkeypatch.setenv("CHKPT_STORE", str(home / "env"))
        assert chkpt(capsys, "save", "b").status == 0
        assert chkpt(capsys, "save", "./c.zst").status == 0
    assert sorted(str(path.relative_to(home)) for path in home.rglob("*.zst")) == [
        "c.zst",
        "deep/store/a.zst",
        "env/b.zst",
    ]


def test_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch()):
        saved = json.loads(chkpt(capsys, "save", "a", "--json").out)
    with Reader.open(home / "snapshots" / "a.zst") as reader:
        assert saved == {
            "path": str(home / "snapshots" / "a.zst"),
            "size": reader.size,
            "digest": reader.root_digest.hex(),
            "clock_ns": reader.header["clock_ns"],
            "saved": ["pic", "pit", "com1", "ide0"],
            "skipped": [],
            "encrypted": False,
            "signed_by": [],
            "removed": [],
        }


def test_what_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "file").write_text("mine")
    assert refused(chkpt(capsys, "save", "x"), 5) == "no machine is running; start one with chkpt run"
    assert not (home / "snapshots").exists()
    with serving(launch()):
        assert chkpt(capsys, "save", "taken").status == 0
        before = (home / "snapshots" / "taken.zst").read_bytes()
        for args, status, words in (
            (["taken"], 1, "taken.zst"),
            (["./file"], 1, "file"),
            (["./absent/x"], 1, f"the directory {home}/absent does not exist"),
            (["snapshots/"], 2, "snapshots/ is the path of a directory"),
            (["new/"], 2, "new/ is the path of a directory"),
            (["new/."], 2, "new/. is the path of a directory"),
            (["./snapshots"], 1, "snapshots: this is a directory; choose another name"),
            (["x", "--store", "/proc/x"], 1, "/proc/x: No such file or directory"),
            (["x", "--store", "file/s"], 1, f"{home}/file/s: Not a directory"),
            (["./snapshots2/x.zst", "--store", "snapshots2"], 1, "snapshots2/x.zst"),
            (["."], 2, "dot"),
            ([""], 2, "name"),
            (["a\nb"], 2, "control"),
            (["x" * 300], 2, "300 bytes"),
            (["x", "-m", "nobody"], 5, "no machine nobody is running; running are: m"),
            (["x", "--store", "file"], 2, "file"),
        ):
            assert words in refused(chkpt(capsys, "save", *args), status), args
        assert (home / "snapshots" / "taken.zst").read_bytes() == before
        assert (home / "file").read_text() == "mine"
        assert not (home / "new").exists()
        assert chkpt(capsys, "save", "taken", "--force").status == 0
        assert "--force replaces only snapshots" in refused(chkpt(capsys, "save", "./file", "-f"), 1)
        assert (home / "file").read_text() == "mine"
        (home / "file").write_bytes(before[:-1])  # cut short, and a snapshot all the same
        assert chkpt(capsys, "save", "./file", "-f").status == 0
        assert (home / "file").read_bytes() != before[:-1]
    assert sorted(path.name for path in (home / "snapshots").iterdir()) == ["taken.zst"]


def test_path_with_bytes_that_are_not_text(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch()):
        outcome = chkpt(capsys, "save", "./\udcff.zst")
        assert outcome.status == 0
        assert r"\udcff.zst" in outcome.out
    assert b"\xff.zst" in [path.name.encode(errors="surrogateescape") for path in home.iterdir()]


def test_what_the_command_line_asks_for_reaches_the_service_as_the_same_value(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SaveRequest] = []

    def record(request: SaveRequest, _: object) -> Destination:
        asked.append(request)
        raise ChkptError("that is all")

    reader = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    with serving(launch()):
        monkeypatch.setattr("chkpt.service.control.check_destination", record)
        for options in ([], ["--force"], ["--sign", "key"], ["--recipient", reader, "--sign", "/key", "--force"]):
            assert chkpt(capsys, "save", "a", *options).status == 1
    store = home / "snapshots"
    assert asked == [
        make_save_request("a", store, force=False, sign=None, recipients=None),
        make_save_request("a", store, force=True, sign=None, recipients=None),
        make_save_request("a", store, force=False, sign=home / "key", recipients=None),
        SaveRequest(str(store / "a.zst.age"), force=True, sign="/key", recipients=(reader,)),
    ]
