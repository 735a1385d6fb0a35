"""Fifty clients at one served machine at once: they save, inspect, pause, resume, load and read the console.

In the first half no client loads, so the machine's clock may only rise. In the second half one client loads, again and
again. One client never reads its console.

With a processor, the guest writes RAM all the time, and each snapshot is searched for parts of different moments
(`tests/lab/reliability/counting.py`). The clock is bounded on both sides: it never goes back, and never further than
the host's. The machine keeps pace with the wall clock, so its clock may be `AHEAD` of the host's, and as much again
after each resume, when its pace starts anew.
"""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chkpt.cli.demo.stage import COMMAND
from chkpt.context import Checkpoint
from chkpt.errors import ChkptError
from chkpt.machine import Machine, MachineConfig, config
from chkpt.machine.config import Pace
from chkpt.machine.run.pace import AHEAD
from chkpt.service.api.messages import SaveReply
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient
from chkpt.snapshot import Reader
from tests.lab.reliability import counting
from tests.lab.reliability.served import PATIENCE, BrokenError, Place

SAVERS: Final = 20
LOOKERS: Final = 14
READERS: Final = 13
"""Besides one that pauses, one that loads and one whose console is never read: fifty."""

CLIENTS: Final = SAVERS + LOOKERS + READERS + 3

MAX_GROWTH: Final = 64 << 20
"""Bytes by which the machine's process may grow while all this goes on."""

TABLE: Final[dict[str, object]] = {
    "name": "crowd",
    "memory": "2M",
    "device": [{"type": "pic"}, {"type": "pit"}, {"type": "serial", "name": "com1"}],
}

RATE: Final = 10_000_000
"""Ticks of the guest in a second: few enough that an emulator keeps pace, so that a clock that jumps is ahead."""

OVERSHOOT: Final = 1_000_000
"""Nanoseconds by which the last block of a turn may pass its end: ten thousand ticks; a block has about ten."""


@dataclass(slots=True)
class Crowd:
    """What the clients did and saw."""

    done: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    grown: int = 0  # bytes of memory, from before the first client to after the last
    console_bytes: int = 0


def table(scratch: Path, *, cpu: bool) -> dict[str, object]:
    """Return the table of a machine for the crowd; with a CPU, its guest is written to `scratch`."""
    if not cpu:
        return TABLE
    counting.write_bios(scratch / "bios.bin")
    cpu_table = {"model": "unicorn", "rate": RATE, "pace": Pace.WALL.value}
    return {**TABLE, "cpu": cpu_table, "firmware": {"bios": str(scratch / "bios.bin")}}


def toml(description: dict[str, object]) -> str:
    """Return the TOML of such a table."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in description.items() if isinstance(value, str)]
    for key in ("cpu", "firmware"):
        if isinstance(inner := description.get(key), dict):
            lines += [f"[{key}]", *(f"{name} = {json.dumps(value)}" for name, value in inner.items())]
    devices = description["device"]
    assert isinstance(devices, list)
    for device in devices:
        lines += ["[[device]]", *(f"{name} = {json.dumps(value)}" for name, value in device.items())]
    return "\n".join(lines) + "\n"


@contextmanager
def running(place: Place, description: dict[str, object]) -> Iterator[tuple[MachineClient, int]]:
    """Serve the machine in a process of its own; yield a client and the number of the process."""
    path = place.path / "crowd.toml"
    path.write_text(toml(description))
    with (place.path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, "run", str(path), "--json"],
            cwd=place.path, env=place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield MachineClient("crowd", Path(ready["api"]).parent), process.pid
        process.send_signal(signal.SIGTERM)
        if process.wait(PATIENCE) != 0:
            raise BrokenError(f"the machine ended with {process.returncode}")
    finally:
        process.kill()
        process.communicate()
    said = (place.path / "log").read_text("utf-8")
    if "Traceback" in said:
        raise BrokenError(said)
    if place.left_running():
        raise BrokenError(f"left behind: {place.left_running()}")


def crowd(scratch: Path, *, cpu: bool, seconds: float) -> Crowd:
    """Let the clients at a machine for so long, and return what they saw.

    Raises:
        BrokenError: the machine could not end cleanly afterwards, or left something behind.
    """
    place = Place(scratch)
    place.store.mkdir()
    description = table(scratch, cpu=cpu)
    with running(place, description) as (client, pid):
        found = _Clients(client, place.store, description)
        base = found.keep(client.save(SaveRequest(str(place.store / "base.zst"))))
        open_before, before = _descriptors(pid), _memory(pid)
        found.run(base, seconds)
        found.seen.grown = _memory(pid) - before
        if found.seen.grown > MAX_GROWTH:
            found.broken(f"memory grew by {found.seen.grown >> 20} MiB")
        end = time.monotonic() + PATIENCE
        while _descriptors(pid) > open_before and time.monotonic() < end:
            time.sleep(0.05)
        if _descriptors(pid) > open_before:
            found.broken(f"{_descriptors(pid) - open_before} descriptors are left open")
    return found.seen


def load_new(what: MachineConfig, checkpoint: Checkpoint) -> tuple[int, str]:
    """Load everything in a checkpoint into a new machine; return its clock, and what of it is torn."""
    twin = Machine(what)
    try:
        twin.load(checkpoint, strict=True)
        return twin.clock.now, "" if what.cpu is None else counting.find_torn(twin)
    finally:
        twin.close()


class _Clients:
    """The clients, and what they saw."""

    def __init__(self, client: MachineClient, store: Path, description: dict[str, object]) -> None:
        self.seen = Crowd()
        self._client = client
        self._store = store
        self._config = config.parse(description)
        self._lock = threading.Lock()
        self._twin = threading.Lock()
        self._paused_ns = 0  # of pauses that are over
        self._resumes = 0  # that were asked for
        self._began = self._first = 0  # the host's clock and the machine's, when they were last put together
        self._over = threading.Event()
        self._loads = threading.Event()

    def broken(self, what: str) -> None:
        with self._lock:
            self.seen.broken.append(what)

    def run(self, base: int, seconds: float) -> None:
        """Begin all, wait, and let all end. `base` is the clock of the snapshot that is loaded."""
        self._client.pause()
        self._began = time.monotonic_ns()
        self._first = self._client.resume()["clock_ns"]
        with self._client.console("com1"):  # its output is never read
            roles: list[Callable[[int], None]] = [self._save, self._look, self._read, self._pause]
            counts = [SAVERS, LOOKERS, READERS, 1]
            everyone = [role for role, count in zip(roles, counts, strict=True) for _ in range(count)]
            threads = [
                threading.Thread(target=self._guarded, args=(role, number), daemon=True)
                for number, role in enumerate([*everyone, lambda _: self._load(base)])
            ]
            for thread in threads:
                thread.start()
            time.sleep(seconds / 2)
            self._rose()
            self._loads.set()
            time.sleep(seconds / 2)
            self._over.set()
            end = time.monotonic() + PATIENCE
            for thread in threads:
                thread.join(max(0.0, end - time.monotonic()))
            if hanging := sum(thread.is_alive() for thread in threads):
                self.broken(f"{hanging} clients hang")

    def _rose(self) -> None:
        now = self._client.machine()["clock_ns"]
        self._not_far(now, "the middle")
        if now <= self._first:
            self.broken(f"the clock is at {now}, and was at {self._first} in the beginning")

    def _not_far(self, clock: int, what: str) -> None:
        """Check that the clock has gone no further than the host's, in the time without the pauses."""
        may = 0 if self._config.cpu is None else (AHEAD + OVERSHOOT) * (1 + self._resumes)
        paused = self._paused_ns  # before the host's clock: a pause that ends between the two is time for the machine
        ran = time.monotonic_ns() - self._began - paused
        if clock - self._first > ran + may:
            self.broken(f"{what} finds the clock {clock - self._first} ns on, in {ran} ns without the pauses")

    def _guarded(self, role: Callable[[int], None], number: int) -> None:
        try:
            role(number)
        except (ChkptError, OSError, AssertionError) as exc:
            self.broken(f"client {number}: {exc!r}")

    def _count(self, what: str) -> None:
        with self._lock:
            self.seen.done[what] += 1

    # -- the roles ----------------------------------------------------------------------------------------------------

    def _save(self, number: int) -> None:
        turn = 0
        last = 0
        while not self._over.is_set():
            path = self._store / f"{number}-{turn}.zst"
            loads = self._loads.is_set()
            reply = self._client.save(SaveRequest(str(path)))
            self.keep(reply)
            if not loads and not self._loads.is_set():
                self._not_back(last, reply["clock_ns"], "a save")
                self._not_far(reply["clock_ns"], "a save")
            last = reply["clock_ns"]
            path.unlink()
            self._count("saves")
            turn += 1

    def keep(self, reply: SaveReply) -> int:
        """Look whether a save is whole and of one moment; return its clock."""
        with Reader.open(reply["path"]) as reader:
            reader.verify()
            if (reader.root_digest.hex(), reader.size) != (reply["digest"], reply["size"]):
                self.broken(f"{reply['path']} is not what the answer says")
            if reader.header["clock_ns"] != reply["clock_ns"]:
                self.broken(
                    f"{reply['path']} is of {reader.header['clock_ns']!r} ns, its answer of {reply['clock_ns']}"
                )
            with self._twin:  # processors are made one at a time
                clock, torn = load_new(self._config, reader.checkpoint())
            if clock != reply["clock_ns"]:
                self.broken(f"{reply['path']} loads to {clock} ns")
            if torn:
                self.broken(f"{reply['path']} is torn: {torn}")
        return reply["clock_ns"]

    def _look(self, number: int) -> None:
        chance = random.Random(number)
        last = 0
        while not self._over.is_set():
            loads = self._loads.is_set()
            now = self._client.machine()["clock_ns"]
            if not loads and not self._loads.is_set():
                self._not_back(last, now, "a look")
                self._not_far(now, "a look")
            last = now
            if len(self._client.devices()["devices"]) != 3:
                self.broken("the devices are not those of the machine")
            self._count("looks")
            time.sleep(chance.random() / 50)

    def _not_back(self, before: int, now: int, what: str) -> None:
        if now < before:
            self.broken(f"{what} finds the clock at {now}, after {before}")

    def _pause(self, _: int) -> None:
        """Pause and resume; while the machine is paused, its clock stands, unless it is loaded."""
        while not self._over.is_set():
            loads = self._loads.is_set()
            begin = self._client.pause()
            stood = time.monotonic_ns()
            time.sleep(0.02)
            look = self._client.machine()
            asked = time.monotonic_ns()
            self._paused_ns += asked - stood
            self._resumes += 1
            resumed = self._client.resume()
            answered = time.monotonic_ns()
            if not begin["paused"] or not look["paused"] or resumed["paused"]:
                self.broken("a pause or resume did not do what it says")
            if not loads and not self._loads.is_set():
                if look["clock_ns"] != begin["clock_ns"]:
                    self.broken(f"the clock of the paused machine went on by {look['clock_ns'] - begin['clock_ns']} ns")
                if not 0 <= resumed["clock_ns"] - look["clock_ns"] <= answered - asked:
                    self.broken(f"the clock jumps at a resume: {look['clock_ns']} to {resumed['clock_ns']} ns")
            self._count("pauses")
            time.sleep(0.05)

    def _load(self, base: int) -> None:
        self._loads.wait()
        while not self._over.is_set():
            reply = self._client.load(self._store / "base.zst", strict=True)
            if reply["clock_ns"] != base or reply["loaded"] != ["pic", "pit", "com1"]:
                self.broken(f"a load set the clock to {reply['clock_ns']}, and not to {base}")
            self._count("loads")
            time.sleep(0.05)

    def _read(self, number: int) -> None:
        """Read the console, and begin anew now and then; what comes is in order, unless it was dropped or loaded."""
        while not self._over.is_set():
            with self._client.console("com1") as stream:
                stream.settimeout(0.2)
                for _ in range(10 + number):
                    try:
                        data = stream.recv(1 << 16)
                    except TimeoutError:
                        break
                    with self._lock:
                        self.seen.console_bytes += len(data)
                    time.sleep(0.01)
            self._count("consoles")


def _memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise BrokenError(f"process {pid} is gone")


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  a count, no paths
