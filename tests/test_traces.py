"""The recorded conversations answer as QEMU did: played whole, and cut anywhere by save, new machine, load."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chkpt.machine import Machine
from chkpt.manager import BackendTypes
from chkpt.snapshot import dumps, loads
from chkpt_devices.backends.block import IMAGE
from tests.support.recorded import KINDS, disk, play, tables, trace, traces
from tests.support.rig import rig, saved

NAMES = [f"{kind}-{number:03}" for kind in KINDS for number in range(30)]
ONE_OF_EACH = [f"{kind}-{number:03}" for number, kind in enumerate(KINDS)]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    path.write_bytes(disk())
    return path


@pytest.fixture
def build(image: Path) -> Iterator[Callable[[], Machine]]:
    """Give what builds the machine that the traces expect; all of them are closed in the end."""
    backends = BackendTypes([IMAGE])
    built: list[Machine] = []

    def one_more() -> Machine:
        built.append(rig(*tables(image), backends=backends))
        return built[-1]

    yield one_more
    for machine in built:
        machine.close()


def test_there_are_thirty_traces_of_each_kind() -> None:
    assert [name for kind in KINDS for name in traces(kind)] == NAMES


@pytest.mark.parametrize("name", [*NAMES, "demo"])
def test_whole(name: str, build: Callable[[], Machine]) -> None:
    play(trace(name), build())


@pytest.mark.parametrize("name", NAMES)
def test_cut_somewhere(name: str, build: Callable[[], Machine]) -> None:
    conversation = trace(name)
    choose = random.Random(name)
    play(conversation, build(), cut(build), [choose.randrange(1, len(conversation.exchanges))])


@pytest.mark.parametrize("name", [*ONE_OF_EACH, "demo"])
def test_cut_before_every_command(name: str, build: Callable[[], Machine]) -> None:
    conversation = trace(name)
    play(conversation, build(), cut(build), range(len(conversation.exchanges)))


@pytest.mark.parametrize("name", ["demo"])
def test_cut_where_the_trace_says(name: str, build: Callable[[], Machine]) -> None:
    conversation = trace(name)
    assert conversation.cuts
    play(conversation, build(), cut(build), conversation.cuts)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_cut_before_every_command_of_all(name: str, build: Callable[[], Machine]) -> None:
    conversation = trace(name)
    play(conversation, build(), cut(build), range(len(conversation.exchanges)))


@pytest.mark.long
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_single_cut(name: str, build: Callable[[], Machine]) -> None:
    conversation = trace(name)
    for at in range(1, len(conversation.exchanges)):
        play(conversation, build(), cut(build), [at])


def cut(build: Callable[[], Machine]) -> Callable[[Machine], Machine]:
    """Return what ends a machine and goes on with a new one, by way of a snapshot's bytes."""

    def through_a_snapshot(machine: Machine) -> Machine:
        snapshot = dumps(saved(machine))
        machine.close()
        twin = build()
        report = twin.load(loads(snapshot), strict=True)
        assert set(report.loaded) == {entry.name for entry in twin.devices}
        return twin

    return through_a_snapshot
