"""No request, however made, gets an answer that `openapi.json` does not know, or an error of ours."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chkpt.service import launch as server
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http import app
from chkpt.service.http.client import MachineClient
from tests.chkpt.service.fuzzing import ON_CONDITION, OPERATIONS, fuzz
from tests.support.served import launch, serving


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[MachineClient]:
    """A machine that takes requests to stop, but goes on until the test is over."""
    over = threading.Event()
    monkeypatch.setattr(
        server, "application", lambda running, stop: app.application(running, lambda: stop() if over.is_set() else None)
    )
    with serving(launch()) as client:
        try:
            yield client
        finally:
            over.set()


@pytest.fixture
def places(machine: MachineClient, tmp_path: Path) -> list[Path]:
    """Paths of every kind that a request may name, first the directory that relative ones count from."""
    machine.save(SaveRequest(str(tmp_path / "good.zst")))
    (tmp_path / "link.zst").symlink_to("good.zst")
    (tmp_path / "dangling.zst").symlink_to("absent.zst")
    (tmp_path / "cut.zst").write_bytes((tmp_path / "good.zst").read_bytes()[:-1])
    os.mkfifo(tmp_path / "fifo")
    return [
        tmp_path,
        *sorted(path for path in tmp_path.iterdir() if path.name != "good.zst"),
        tmp_path / "absent" / "a.zst",
        machine.path / "lock",
        Path("/proc/self/mem"),
        Path("/dev/null"),
    ]


def run(machine: MachineClient, places: list[Path], operation: tuple[str, str], examples: int) -> None:
    found = fuzz(machine.path / "api.sock", operation, places, examples=examples)
    if operation[0] in ON_CONDITION and operation[1] == "POST":
        assert found[400]
    else:
        assert found[200]
    assert (machine.path / "lock").is_file()
    assert machine.resume()["name"] == "m"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each[1].lower()}-{each[0].rpartition('/')[2]}")
def test_every_answer_is_described(machine: MachineClient, places: list[Path], operation: tuple[str, str]) -> None:
    run(machine, places, operation, 15)


@pytest.mark.long
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each[1].lower()}-{each[0].rpartition('/')[2]}")
def test_every_answer_of_many_is_described(
    machine: MachineClient, places: list[Path], operation: tuple[str, str]
) -> None:
    run(machine, places, operation, 1000)
