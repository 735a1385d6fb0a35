"""A run that ends by itself: where, with what status, and what it leaves."""

import os
import threading
from pathlib import Path

import pytest

from chkpt.errors import ConfigError, ExistsError, NotFoundError, StorageError
from chkpt.machine.board.guest_requests import Requests
from chkpt.machine.config import parse
from chkpt.service import until as until_module
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import find
from chkpt.service.launch import Launch, serve
from chkpt.service.until import End, Output, Until
from chkpt.snapshot import Reader, dumps
from tests.guests import busy, execution, shell_table
from tests.support.rig import saved
from tests.support.served import COM1, table


def run(until: Until | None, *, typed: bytes = b"", load: Path | None = None, output: int | None = None) -> End:
    """Run the shell, or what is loaded, to its end; `typed` is said to it once it has started."""
    config = parse(shell_table()) if load is None else busy().config

    def ready(*_: object) -> None:
        if typed:
            with find("m").console("com1") as stream:
                stream.sendall(typed)

    reader = None if load is None else Reader.open(load)
    return serve(Launch(config, load=reader, until=until, output=output), ready)


def test_a_text_ends_the_run_at_the_same_tick_each_time() -> None:
    ends = [run(Until(text=b"ead")) for _ in range(2)]
    assert ends[0].ticks is not None
    assert ends[0] == ends[1] == End("reached", 0, ends[0].message, ends[0].ticks, ends[0].clock_ns)
    assert ends[0].message == f"machine m has sent 'ead' at tick {ends[0].ticks}"
    assert run(Until(text=b"ready\r\n")).ticks != ends[0].ticks


def test_what_was_sent_goes_to_the_output_up_to_the_text(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        run(Until(text=b"ead", port="com1"), output=out.fileno())
    assert (tmp_path / "out").read_bytes() == b"read"


def test_a_tick_ends_the_run_at_its_block_and_the_machine_is_saved_there(tmp_path: Path) -> None:
    begin, end, path = tmp_path / "begin.zst", tmp_path / "end.zst", tmp_path / "path.zst"
    machine = busy()
    machine.run(ticks=20_000)
    begin.write_bytes(dumps(saved(machine)))
    at = run(Until(ticks=50_000, save=SaveRequest(str(end))), load=begin)
    assert at == End("reached", 0, at.message, at.ticks, at.clock_ns, at.saved)
    assert at.saved is not None
    assert (at.saved["path"], at.saved["clock_ns"]) == (str(end), at.clock_ns)
    assert at.message == f"machine machine is at tick {at.ticks}"
    relative = run(
        Until(ticks=50_000 - execution(machine).cpu.ticks, relative=True, save=SaveRequest(str(path))), load=begin
    )
    assert relative.ticks == at.ticks
    machine.run(ticks=50_000)
    with Reader.open(end) as first, Reader.open(path) as second:
        assert first.sections == second.sections == Reader(dumps(saved(machine))).sections


def test_a_tick_that_has_passed_ends_the_run_where_it_is(tmp_path: Path) -> None:
    machine = busy()
    machine.run(ticks=20_000)
    (tmp_path / "a.zst").write_bytes(dumps(saved(machine)))
    end = run(Until(ticks=5), load=tmp_path / "a.zst")
    assert (end.why, end.ticks) == ("reached", execution(machine).cpu.ticks)


@pytest.mark.parametrize(
    ("typed", "until", "why", "status", "message"),
    [
        (b"q", Until(), "exit", 33, "the guest of machine m ended it with status 33"),
        (b"q", Until(text=b"no"), "exit", 33, "the guest of machine m ended it with status 33"),
        (b"q", None, "exit", 33, "the guest of machine m ended it with status 33"),
        (b"d", Until(text=b"bye"), "reached", 0, "has sent 'bye'"),
        (b"d", Until(ticks=1 << 62), "dead", 1, f"before tick {1 << 62}: its CPU is halted with interrupts off"),
        (b"s", Until(), "shutdown", 1, "before the guest ended it: its CPU is shut down: triple fault (vector 6)"),
        (b"", Until(text=b"\xff'", timeout=2_500_000_000), "timeout", 1, "2.5 s of its clock have passed"),
    ],
    ids=["exit", "exit-before", "exit-unasked", "text-before-dead", "dead", "shutdown", "timeout"],
)
def test_how_a_run_ends(typed: bytes, until: Until | None, why: str, status: int, message: str) -> None:
    end = run(until, typed=typed)
    assert (end.why, end.status) == (why, status)
    assert message in end.message


def test_a_guest_that_waits_for_input_ends_the_run_where_nobody_can_give_it(tmp_path: Path) -> None:
    config = parse(shell_table(device=[{"type": "pic"}, COM1]))
    end = serve(Launch(config, until=Until(text=b"never")), lambda *_: None)
    assert (end.why, end.status) == ("idle", 1)
    assert "only input would wake it" in end.message


def test_a_machine_that_is_told_to_stop_before_has_failed() -> None:
    end = serve(Launch(parse(shell_table()), until=Until(text=b"never")), lambda *_: _stop())
    assert (end.why, end.status) == ("stopped", 1)
    assert serve(Launch(parse(shell_table())), lambda *_: _stop()).status == 0


def _stop() -> None:
    """Stop the machine soon: the service answers only once `ready` has returned."""
    threading.Thread(target=lambda: find("m").stop()).start()


@pytest.mark.parametrize(("until", "status"), [(Until(), 0), (Until(text=b"never"), 1)])
def test_an_exit_status_of_0_is_a_failure_where_something_else_was_wanted(
    monkeypatch: pytest.MonkeyPatch, until: Until, status: int
) -> None:
    request = Requests.request_exit
    monkeypatch.setattr(Requests, "request_exit", lambda requests, _: request(requests, 0))
    end = run(until, typed=b"q")
    assert (end.why, end.status) == ("exit", status)


def test_no_failure_becomes_a_success_by_the_8_bits_of_an_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Requests.request_exit
    monkeypatch.setattr(Requests, "request_exit", lambda requests, _: request(requests, 0x300))
    assert run(Until(), typed=b"q").status == 1


def test_what_cannot_be_is_refused_before_the_guest_runs(tmp_path: Path) -> None:
    (tmp_path / "there.zst").touch()
    with pytest.raises(ExistsError, match="choose another name"):
        run(Until(ticks=1, save=SaveRequest(str(tmp_path / "there.zst"))))
    assert run(Until(ticks=1, save=SaveRequest(str(tmp_path / "there.zst"), force=True))).status == 0
    with pytest.raises(NotFoundError, match="no serial port com2; it has: com1"):
        run(Until(text=b"a", port="com2"))
    with pytest.raises(ConfigError, match="machine m has no CPU to run"):
        serve(Launch(parse(table(COM1)), until=Until(ticks=1)), lambda *_: None)
    with pytest.raises(StorageError, match=r"the directory .* does not exist"):
        run(Until(ticks=1, save=SaveRequest(str(tmp_path / "absent" / "a.zst"))))


# -- the output -------------------------------------------------------------------------------------------------------


def test_a_reader_that_has_gone_ends_the_run() -> None:
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(BrokenPipeError):
        run(Until(text=b"never"), output=write)
    os.close(write)


def test_a_full_disk_is_told() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(StorageError, match="standard output: No space left"):
        run(Until(text=b"never"), output=full)
    os.close(full)


def test_a_slow_reader_makes_the_machine_wait_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(until_module, "MAX_UNWRITTEN", 10_000)
    read, write = os.pipe()
    output = Output(write, lambda: False, lambda: None)
    data = os.urandom(300_000)
    seen = bytearray()

    def take() -> None:
        while len(seen) < len(data):
            seen.extend(os.read(read, 1000))

    reader = threading.Thread(target=take)
    reader.start()
    for at in range(0, len(data), 1000):
        output.put(data[at : at + 1000])
        assert len(output._unwritten) <= 11_000
    output.flush()
    reader.join()
    assert seen == data
    assert output.fileno() is None
    os.close(read)
    os.close(write)


def test_a_machine_that_is_called_does_not_wait_for_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(until_module, "MAX_UNWRITTEN", 10)
    read, write = os.pipe()
    output = Output(write, lambda: True, lambda: None)
    for _ in range(100):
        output.put(bytes(1000))
    assert output.fileno() == write
    assert output.wants_write()
    os.close(read)
    os.close(write)
