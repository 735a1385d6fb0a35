"""How long a machine was off, and loads that let its date go on."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chkpt.context import Checkpoint
from chkpt.errors import StateError
from chkpt.machine.config import parse
from chkpt.service.api.requests import SaveRequest
from chkpt.service.configure import seconds_since
from chkpt.service.launch import Launch
from chkpt.snapshot import Reader, dumps
from tests.support.rig import rig, saved
from tests.support.served import ask, serving, table

CMOS: dict[str, object] = {"type": "cmos", "base": "2026-11-24T12:00:00"}


def created(when: str, checkpoint: Checkpoint | None = None) -> bytes:
    checkpoint = saved(rig(CMOS, memory=4096)) if checkpoint is None else checkpoint
    checkpoint.header["created"] = when
    return dumps(checkpoint)


def ago(**what: float) -> str:
    return (datetime.now(UTC) - timedelta(**what)).isoformat()


def test_whole_seconds_since_it_was_created() -> None:
    assert seconds_since(Reader(created(ago(days=2)))) in range(172_800, 172_900)


def test_the_future_is_no_time_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert seconds_since(Reader(created(ago(days=-2)))) == 0
    assert "which is in the future" in caplog.text


@pytest.mark.parametrize("when", ["yesterday", "2026-11-24T12:00:00", "2026-13-24T12:00:00Z"])
def test_what_is_no_date_is_refused(when: str) -> None:
    with pytest.raises(StateError, match="load it with --time freeze"):
        seconds_since(Reader(created(when)))


def test_a_load_over_the_service_freezes_the_date_or_lets_it_go_on(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(created(ago(days=3)))
    with serving(Launch(parse(table(CMOS)), paused=True)) as client:
        assert client.load(path)["dates_advanced_s"] == 0
        client.save(SaveRequest(str(tmp_path / "frozen.zst")))
        reply = client.load(path, time="wall")
        assert reply["dates_advanced"] == ["cmos"]
        assert reply["dates_advanced_s"] in range(259_200, 259_300)
        client.save(SaveRequest(str(tmp_path / "moved.zst")))
        status, error = ask(client, "POST", "/v1/load", {"path": str(path), "time": "noon"})
        assert (status, error["message"]) == (400, "field time is not one of: freeze, wall")
    assert [day(tmp_path / name) for name in ("frozen.zst", "moved.zst")] == [0x24, 0x27]


def test_a_run_that_begins_with_a_load_freezes_the_date_or_lets_it_go_on(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(created(ago(days=3)))
    for advance, expected in ((False, 0x24), (True, 0x27)):
        launch = Launch(parse(table(CMOS)), load=Reader.open(path), paused=True, dates_advance=advance)
        with serving(launch) as client:
            client.save(SaveRequest(str(tmp_path / "b.zst"), force=True))
        assert day(tmp_path / "b.zst") == expected


def test_a_calendar_that_is_stopped_stays_and_nothing_else_is_told(tmp_path: Path) -> None:
    stopped = rig(CMOS, memory=4096)
    stopped.ports.outb(0x70, 0x0B)
    stopped.ports.outb(0x71, 0x82)  # SET, 24 hours
    (tmp_path / "a.zst").write_bytes(created(ago(days=3), saved(stopped)))
    with serving(Launch(parse(table(CMOS)), paused=True)) as client:
        reply = client.load(tmp_path / "a.zst", time="wall")
        assert (reply["dates_advanced"], reply["dates_advanced_s"]) == ([], 0)
        client.save(SaveRequest(str(tmp_path / "b.zst")))
    assert day(tmp_path / "b.zst") == 0x24


def day(path: Path) -> object:
    with Reader.open(path) as reader:
        return reader.section("devices/cmos").values["day_of_month"]
