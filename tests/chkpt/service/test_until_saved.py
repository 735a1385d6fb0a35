"""A run that is saved where it ends: the machine stands still there, and answers until the snapshot is whole."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chkpt.errors import ChkptError, ConflictError
from chkpt.machine.config import parse
from chkpt.service import directory
from chkpt.service.api.messages import MachineInfo
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient
from chkpt.service.launch import Launch, serve
from chkpt.service.until import End, Until
from chkpt.snapshot import Reader
from chkpt.snapshot.diff import compare
from tests.guests import shell_table
from tests.support.slow import Gate, sparse

CD, HD = "ide0.0", "ide0.1"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


class Run:
    """`chkpt run --until TICKS --save a.zst` of the shell, with a large image that no cache knows."""

    def __init__(self, place: Path, name: str, **until: object) -> None:
        self.path = place / f"{name}.zst"
        self.machine = MachineClient("m", directory.root() / "m")
        self.ended: list[End | ChkptError] = []
        table = shell_table()
        devices = table["device"]
        assert isinstance(devices, list)
        drives = [{"unit": 0, "media": "cdrom"}, {"unit": 1, "image": str(sparse(place / f"{name}.img"))}]
        devices.append({"type": "ide", "name": "ide0", "drive": drives})
        goal = Until(save=SaveRequest(str(self.path)), **until)  # type: ignore[arg-type]  # of any kind
        ready = threading.Event()

        def run() -> None:
            try:
                self.ended.append(serve(Launch(parse(table), until=goal), lambda *_: ready.set()))
            except ChkptError as exc:
                self.ended.append(exc)

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert ready.wait(60)

    def at_the_goal(self) -> MachineInfo:
        """Wait until the machine stands still, and return what it says of itself."""
        while not (info := self.machine.machine(timeout=60))["paused"]:
            assert not self.ended
        return info

    def end(self) -> End | ChkptError:
        """Wait for the end of the run, and return what came of it."""
        self._thread.join()
        return self.ended[0]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Run]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    begun: list[Run] = []

    def begin(name: str, **until: object) -> Run:
        begun.append(Run(tmp_path, name, **until))
        return begun[-1]

    yield begin
    for each in begun:
        if not each.ended:
            each.machine.stop()
        each.end()


def test_the_machine_answers_at_its_goal_while_its_image_is_identified(run: Callable[..., Run], gate: Gate) -> None:
    begun = run("a", ticks=30_000)
    info = begun.at_the_goal()
    assert info["cpu"] is not None
    again = begun.machine.machine(timeout=60)
    assert (again["clock_ns"], again["cpu"]) == (info["clock_ns"], info["cpu"])
    assert [each["drive"] for each in begun.machine.media()["drives"]] == [CD, HD]
    assert begun.machine.devices()["devices"]
    assert not begun.path.exists()
    gate.opened.set()
    end = begun.end()
    assert isinstance(end, End)
    assert (end.why, end.status, end.ticks, end.clock_ns) == ("reached", 0, info["cpu"]["ticks"], info["clock_ns"])
    assert end.saved is not None
    assert end.saved["clock_ns"] == info["clock_ns"]


def test_nothing_changes_the_machine_at_its_goal(run: Callable[..., Run], gate: Gate, tmp_path: Path) -> None:
    gate.opened.set()
    assert isinstance(run("plain", ticks=30_000).end(), End)
    gate.opened.clear()
    begun = run("a", ticks=30_000)
    begun.at_the_goal()
    machine = begun.machine
    with machine.console("com1") as typed:  # a console is served, and what is typed is not for this guest
        typed.sendall(b"q")
        changes: list[Callable[[], object]] = [
            machine.pause,
            machine.resume,
            machine.reset,
            lambda: machine.step(ticks=1),
            lambda: machine.change_medium(CD, tmp_path / "plain.img", raw=True),
        ]
        for change in changes:
            with pytest.raises(ConflictError, match=r"^machine m is being saved"):
                change()
        gate.opened.set()
        begun.end()
    with Reader.open(begun.path) as one, Reader.open(tmp_path / "plain.zst") as other:
        found = compare(one.checkpoint(), other.checkpoint())
    assert not replace(found, header=())
    assert [change.steps[-1] for change in found.header] == ["image"]  # whose path is another one


def test_a_load_does_not_change_the_machine_at_its_goal(run: Callable[..., Run], gate: Gate, tmp_path: Path) -> None:
    gate.opened.set()
    run("early", ticks=10_000).end()
    gate.opened.clear()
    begun = run("a", ticks=30_000)
    at = begun.at_the_goal()
    threading.Timer(0.1, gate.opened.set).start()
    with pytest.raises(ChkptError):  # it waits for the identity, and then comes too late
        begun.machine.load(tmp_path / "early.zst")
    end = begun.end()
    assert isinstance(end, End)
    assert (end.why, end.clock_ns) == ("reached", at["clock_ns"])


@pytest.mark.usefixtures("gate")
def test_a_machine_that_is_stopped_at_its_goal_ends_without_a_snapshot(run: Callable[..., Run]) -> None:
    begun = run("a", ticks=30_000)
    info = begun.at_the_goal()
    begun.machine.stop()
    end = begun.end()
    assert isinstance(end, End)
    assert (end.why, end.status, end.saved) == ("stopped", 1, None)
    assert info["cpu"] is not None
    assert end.message.startswith(f"machine m was stopped at tick {info['cpu']['ticks']}, before it was saved: ")
    assert [each.suffix for each in begun.path.parent.iterdir() if each.is_file()] == [".img"]


def test_a_save_that_fails_at_the_goal_is_what_the_run_fails_with(run: Callable[..., Run], gate: Gate) -> None:
    begun = run("a", ticks=30_000)
    begun.at_the_goal()
    begun.path.write_bytes(b"a diary")
    gate.opened.set()
    end = begun.end()
    assert isinstance(end, ChkptError)
    assert str(end).startswith(f"{begun.path}: there is something of that name already")
    assert begun.path.read_bytes() == b"a diary"
