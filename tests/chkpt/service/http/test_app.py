"""The service over a real socket: what it answers, and every answer as `openapi.json` describes it."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chkpt.context import Checkpoint
from chkpt.errors import ExistsError, NoMachineError, NotFoundError, StateError, StrictError
from chkpt.machine import Machine
from chkpt.service import launch as server
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient, find
from chkpt.snapshot import Reader, dumps
from chkpt.sockets import connect
from tests.support.served import COM1, ask, launch, serving


@pytest.fixture
def machine() -> Iterator[MachineClient]:
    with serving(launch()) as client:
        yield client


def test_machine_and_devices(machine: MachineClient) -> None:
    status, info = ask(machine, "GET", "/v1/machine")
    assert status == 200
    assert (info["name"], info["paused"], info["qtest"]) == ("m", False, None)
    assert info["devices"] == ["pic", "pit", "com1", "ide0"]
    status, found = ask(machine, "GET", "/v1/devices")
    assert status == 200
    assert [device["name"] for device in found["devices"]] == info["devices"]
    com1, ide0 = found["devices"][2:]
    assert com1["claims"] == ["port 0x3f8-0x3ff"]
    assert com1["frontends"] == [{"name": "com1", "kind": "char", "backend": None}]
    assert ide0["frontends"][0] == {
        "name": "ide0.0",
        "kind": "block",
        "backend": {"type": "scratch", "path": None},
    }


def test_backend_is_told_with_where_the_host_finds_it(tmp_path: Path) -> None:
    ports = [
        {**COM1, "backend": {"type": "pty"}},
        {**COM1, "name": "com2", "port": 0x2F8, "irq": 3, "backend": {"type": "file", "path": str(tmp_path / "log")}},
    ]
    with serving(launch(*ports)) as machine:
        found = machine.devices()["devices"]
        pty, file = (device["frontends"][0]["backend"] for device in found)
        assert pty is not None
        assert file == {"type": "file", "path": str(tmp_path / "log")}
        assert pty["type"] == "pty"
        assert Path(pty["path"] or "").is_char_device()


def test_frontend_is_listed_with_the_device_that_has_it_whatever_the_dots_in_names() -> None:
    com = {**COM1, "name": "com", "port": 0x2F8, "irq": 3}
    with serving(launch(com, {**COM1, "name": "com.1"})) as machine:
        found = {device["name"]: device["frontends"] for device in machine.devices()["devices"]}
    assert [[each["name"] for each in found[name]] for name in ("com", "com.1")] == [["com"], ["com.1"]]


def test_save_and_load(machine: MachineClient, tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    status, saved = ask(machine, "POST", "/v1/save", {"path": str(path)})
    assert status == 200
    assert saved["saved"] == ["pic", "pit", "com1", "ide0"]
    assert saved["skipped"] == []
    with Reader.open(path) as reader:
        assert saved["digest"] == reader.root_digest.hex()
        assert saved["size"] == reader.size == path.stat().st_size
        assert reader.header["clock_ns"] == saved["clock_ns"]
        assert reader.header["machine"] == "m"
    status, loaded = ask(machine, "POST", "/v1/load", {"path": str(path)})
    assert status == 200
    assert sorted(loaded["loaded"]) == ["com1", "ide0", "pic", "pit"]
    assert loaded["clock_ns"] == saved["clock_ns"]


def test_clock_goes_on_from_where_the_load_has_set_it(machine: MachineClient, tmp_path: Path) -> None:
    saved = machine.save(SaveRequest(str(tmp_path / "a.zst")))
    time.sleep(0.3)
    begin = time.monotonic_ns()
    loaded = machine.load(tmp_path / "a.zst")
    now = machine.machine()["clock_ns"]
    elapsed = time.monotonic_ns() - begin
    assert loaded["clock_ns"] == saved["clock_ns"]
    assert saved["clock_ns"] < now < saved["clock_ns"] + elapsed


def test_existing_file_is_replaced_only_by_force(machine: MachineClient, tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    before = dumps(Checkpoint())
    path.write_bytes(before)
    status, error = ask(machine, "POST", "/v1/save", {"path": str(path)})
    assert (status, error["error"], error["exit_status"]) == (409, "ExistsError", 1)
    with pytest.raises(ExistsError):
        machine.save(SaveRequest(str(path)))
    assert path.read_bytes() == before
    machine.save(SaveRequest(str(path), force=True))
    machine.load(path)


def test_pause_stops_the_clock_and_resume_lets_it_go_on(machine: MachineClient) -> None:
    assert ask(machine, "POST", "/v1/pause")[1]["paused"] is True
    before = machine.machine()["clock_ns"]
    time.sleep(0.1)
    assert machine.machine()["clock_ns"] == before
    begin = time.monotonic_ns()
    status, info = ask(machine, "POST", "/v1/resume", {})
    assert (status, info["paused"]) == (200, False)
    now = machine.machine()["clock_ns"]
    elapsed = time.monotonic_ns() - begin
    assert before < now < before + elapsed


def test_reset(machine: MachineClient, tmp_path: Path) -> None:
    machine.pause()
    status, info = ask(machine, "POST", "/v1/reset")
    assert (status, info["paused"]) == (200, True)
    machine.save(SaveRequest(str(tmp_path / "a.zst")))
    machine.reset()
    machine.save(SaveRequest(str(tmp_path / "b.zst")))
    with Reader.open(tmp_path / "a.zst") as a, Reader.open(tmp_path / "b.zst") as b:
        assert a.root_digest != b.root_digest  # the header's time
        assert a.section("devices/pit") == b.section("devices/pit")


def test_load_tells_what_it_skipped(tmp_path: Path) -> None:
    with serving(launch({"type": "pit"}, COM1, name="one")) as one:
        one.save(SaveRequest(str(tmp_path / "a.zst")))
    with serving(launch({"type": "pit"}, {**COM1, "name": "com9"}, name="two")) as two:
        loaded = two.load(tmp_path / "a.zst")
        assert loaded["loaded"] == ["pit"]
        assert loaded["skipped"] == [{"name": "com1", "reason": "this machine has no device com9"}] or [
            skip["name"] for skip in loaded["skipped"]
        ] == ["com1"]
        assert [skip["name"] for skip in loaded["left"]] == ["com9"]
        with pytest.raises(StrictError):
            two.load(tmp_path / "a.zst", strict=True)
        assert two.load(tmp_path / "a.zst", rename={"com1": "com9"})["loaded"] == ["pit", "com9"]
        assert two.load(tmp_path / "a.zst", only=["pit"])["loaded"] == ["pit"]
        assert two.load(tmp_path / "a.zst", skip=["pit"], rename={"com1": "com9"})["loaded"] == ["com9"]
        with pytest.raises(NotFoundError, match="no device nothing"):
            two.load(tmp_path / "a.zst", only=["nothing"])


def test_refused_load_changes_nothing(machine: MachineClient, tmp_path: Path) -> None:
    with serving(launch({"type": "pit", "name": "pic"}, name="other")) as other:
        other.save(SaveRequest(str(tmp_path / "other.zst")))
    machine.pause()
    machine.save(SaveRequest(str(tmp_path / "before.zst")))
    status, error = ask(machine, "POST", "/v1/load", {"path": str(tmp_path / "other.zst")})
    assert (status, error["error"], error["exit_status"]) == (422, "StateError", 4)
    with pytest.raises(StateError, match=r"of type .?pit.?, but pic"):
        machine.load(tmp_path / "other.zst")
    machine.save(SaveRequest(str(tmp_path / "after.zst")))
    with Reader.open(tmp_path / "before.zst") as before, Reader.open(tmp_path / "after.zst") as after:
        assert [each.digest for each in before.sections] == [each.digest for each in after.sections]


WRONG: list[tuple[str, str, object, int, str]] = [
    ("POST", "/v1/save", b"{", 400, "UsageError"),
    ("POST", "/v1/save", {}, 400, "UsageError"),
    ("POST", "/v1/save", {"path": "relative"}, 400, "UsageError"),
    ("POST", "/v1/save", {"path": "/a", "extra": 1}, 400, "UsageError"),
    ("POST", "/v1/save", {"path": "/nowhere/at/all.zst"}, 409, "StorageError"),
    ("POST", "/v1/save", {"path": "/tmp/" + "x" * 300}, 400, "UsageError"),
    ("POST", "/v1/save", {"path": "/" + "x/" * 2048 + "x"}, 400, "UsageError"),
    ("POST", "/v1/load", {"path": "/nowhere/at/all.zst"}, 404, "NotFoundError"),
    ("POST", "/v1/load", {"path": "/etc/passwd"}, 422, "CorruptError"),
    ("POST", "/v1/load", {"path": "/etc"}, 409, "StorageError"),
    ("POST", "/v1/load", {"path": "/a", "only": 1}, 400, "UsageError"),
    ("POST", "/v1/pause", {"x": 1}, 400, "UsageError"),
    ("POST", "/v1/pause", b"x" * ((1 << 20) + 1), 413, "UsageError"),
    ("POST", "/v1/save", b" " * (1 << 20) + b"{}", 413, "UsageError"),
    ("GET", "/v1/save", None, 405, "UsageError"),
    ("DELETE", "/v1/machine", None, 405, "UsageError"),
    ("GET", "/", None, 404, "NotFoundError"),
    ("GET", "/v1/machine/x", None, 404, "NotFoundError"),
    ("GET", "/v1/%ff%0d%0a", None, 404, "NotFoundError"),
]


def test_wrong_requests(machine: MachineClient) -> None:
    for method, target, body, status, error in WRONG:
        got, document = ask(machine, method, target, body)
        assert (got, document["error"]) == (status, error), (method, target, document)
        assert document["message"]
        assert "\n" not in document["message"]
    assert machine.machine()["name"] == "m"


def test_body_of_exactly_the_limit_is_read(machine: MachineClient) -> None:
    assert ask(machine, "POST", "/v1/pause", b"{" + b" " * ((1 << 20) - 2) + b"}")[0] == 200


def test_what_is_no_http_is_refused(machine: MachineClient) -> None:
    with connect(machine.path / "api.sock") as stream:
        stream.sendall(b"\0\xff nonsense\r\n\r\n")
        assert stream.recv(100).startswith(b"HTTP/1.1 400")
    assert machine.machine()["name"] == "m"


def test_client_that_goes_away_in_mid_request_does_no_harm(machine: MachineClient) -> None:
    with connect(machine.path / "api.sock") as stream:
        stream.sendall(b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    with connect(machine.path / "api.sock") as stream:
        stream.sendall(b"GET /v1/machine HTTP/1.1\r\nHost: x\r\n\r\n")
    assert machine.machine()["paused"] is False


class Broken(Machine):
    """A machine that cannot be reset."""

    def reset(self) -> None:
        raise ZeroDivisionError("a mistake")


def test_mistake_of_ours_is_an_answer_and_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "Machine", Broken)
    with serving(launch()) as machine:
        status, error = ask(machine, "POST", "/v1/reset")
        assert (status, error["error"], error["exit_status"]) == (500, "ChkptError", 1)
        assert "ZeroDivisionError('a mistake')" in error["message"]
        assert "POST /v1/reset failed" in caplog.text
        assert machine.machine()["name"] == "m"


def test_many_clients_at_once(machine: MachineClient, tmp_path: Path) -> None:
    def work(number: int) -> str:
        path = tmp_path / f"{number}.zst"
        machine.save(SaveRequest(str(path)))
        machine.load(path)
        machine.reset()
        return machine.machine()["name"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(16))) == ["m"] * 16


def test_one_name_saved_by_many_has_one_winner(machine: MachineClient, tmp_path: Path) -> None:
    def save(_: int) -> bool:
        try:
            machine.save(SaveRequest(str(tmp_path / "same.zst")))
        except ExistsError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(save, range(6))) == 1
    machine.load(tmp_path / "same.zst")


def test_stop_ends_the_machine_and_frees_its_name() -> None:
    with serving(launch()) as machine:
        machine.stop()
        assert not machine.path.exists()
        with pytest.raises(NoMachineError, match="machine m has ended"):
            machine.machine()
        with pytest.raises(NoMachineError):
            machine.stop()
        with pytest.raises(NoMachineError, match="no machine is running"):
            find()
    with serving(launch()):
        pass


def test_stop_answers_before_it_ends(machine: MachineClient) -> None:
    assert ask(machine, "POST", "/v1/stop", {}) == (200, {})


def test_requests_during_the_end_are_answered_or_told(machine: MachineClient) -> None:
    outcomes: list[str] = []

    def work() -> None:
        while not outcomes:
            try:
                machine.machine()
            except NoMachineError as exc:
                outcomes.append(str(exc))

    thread = threading.Thread(target=work)
    thread.start()
    machine.stop()
    thread.join()
    ways = "has ended|is starting, or ending, and does not answer.*|has cut the connection: it is ending.*"
    assert re.fullmatch(f"machine m ({ways})", outcomes[0])
