"""A machine that runs in this process, and what may be asked of it from another thread.

Whatever touches the machine is done by its run loop, between two rounds. What takes time and does not touch it, such as
waiting for the disk, is done by whoever asks.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from chkpt.context import Checkpoint
from chkpt.device import FrontendKind, Identifies
from chkpt.errors import LoadError, RefusedError, StorageError, UsageError, naming
from chkpt.machine.cpu.execution import Outcome
from chkpt.machine.disks import identities
from chkpt.machine.media import Medium
from chkpt.machine.run.goal import Goal
from chkpt.machine.run.loop import RunLoop
from chkpt.manager import DeviceEntry, LoadReport, SaveReport
from chkpt.seal import PublicKey, TrustedKeys, Verdict, open_snapshot, require
from chkpt.service import media, paths
from chkpt.service.api.messages import (
    BackendInfo,
    CpuInfo,
    DeviceInfo,
    DeviceList,
    DriveInfo,
    DriveList,
    FrontendInfo,
    LoadReply,
    MachineInfo,
    SaveReply,
    StepReply,
    WorkInfo,
)
from chkpt.service.api.requests import LoadRequest, MediaRequest, SaveRequest, StepRequest
from chkpt.service.configure import seconds_since
from chkpt.service.save import Destination, destination, skips
from chkpt.service.serial.tap import Tap
from chkpt.snapshot import Reader, dump
from chkpt.store import publishing
from chkpt.version import __version__

_ATTEMPTS: Final = 3
"""How often an image that changes may be identified while the guest runs."""

T = TypeVar("T")


class RunningMachine:
    """A machine in the hands of its run loop. Every method but `describe` is for other threads.

    What returns a future is done between two rounds of the loop; after the end of the loop it is NoMachineError. `save`
    and `load` wait.
    """

    def __init__(self, loop: RunLoop, *, qtest: str | None = None, trusted: TrustedKeys | None = None) -> None:
        """Take the loop over.

        Args:
            loop: runs the machine.
            qtest: where qtest comes from, for those who ask.
            trusted: the keys of which one must have signed whatever is loaded; None to take what is not signed.
        """
        self.loop = loop
        self.name = loop.machine.name
        self._machine = loop.machine
        self._qtest = qtest
        self._trusted = trusted
        self._version = __version__
        self._work: dict[object, WorkInfo] = {}  # what takes long now, each by a key of its own
        self._one = Lock()
        self._waits: dict[object, Identifies] = {}  # the disks whose identity is waited for, each by a key of its own
        self.ends = False

    # -- what is done between two rounds ------------------------------------------------------------------------------

    def info(self) -> "Future[MachineInfo]":
        """Tell what the machine is and does."""
        return self.loop.submit(self.describe, changes=False)

    def devices(self) -> "Future[DeviceList]":
        """Tell the devices, what they claim and what is connected to them."""
        return self.loop.submit(self._devices, changes=False)

    def media(self) -> "Future[DriveList]":
        """Tell the drives and what is in each."""
        return self.loop.submit(lambda: DriveList(drives=media.drives(self._machine)), changes=False)

    def pause(self) -> "Future[MachineInfo]":
        """Stop the clock and the input from backends."""
        return self._do(self.loop.pause)

    def resume(self) -> "Future[MachineInfo]":
        """Go on after a pause."""
        return self._do(self.loop.resume)

    def step(self, request: StepRequest) -> "Future[StepReply]":
        """Run the paused machine on, then leave it paused. The future is done when it is there.

        Raises, in the future:
            UsageError: more than one distance was given, the machine is not paused, or makes a step already.
            ConfigError: it has no CPU; with `ns` it needs none.
        """
        future: Future[StepReply] = Future()
        future.set_running_or_notify_cancel()  # whoever asked may go away: the step does not care

        def done(outcome: Outcome | None) -> None:
            told = "interrupted" if outcome is None else outcome.value
            future.set_result(StepReply(outcome=told, machine=self.describe()))

        def begun(call: "Future[None]") -> None:
            exc = call.exception()
            if exc is not None:
                future.set_exception(exc)

        self.loop.submit(lambda: self._step(request, done)).add_done_callback(begun)
        return future

    def end_step(self) -> "Future[None]":
        """End a step before it is there, if one is made."""
        return self.loop.submit(self.loop.end_step)

    def _step(self, request: StepRequest, done: Callable[[Outcome | None], None]) -> None:
        given = [each for each in (request.ticks, request.blocks, request.ns) if each is not None]
        if len(given) > 1:
            raise UsageError("a step is of ticks, blocks or ns, not of two of them")
        if request.ns is not None:
            self.loop.step(Goal(done, until=self._machine.clock.now + request.ns))
            return
        begin = self._machine.processor().cpu.ticks
        ticks = None if request.ticks is None else begin + request.ticks
        self.loop.step(Goal(done, ticks, blocks=request.blocks if given else 1))

    def reset(self) -> "Future[MachineInfo]":
        """Press the reset button."""
        return self._do(self._machine.reset)

    def _do(self, act: Callable[[], None]) -> "Future[MachineInfo]":
        def call() -> MachineInfo:
            act()
            return self.describe()

        return self.loop.submit(call)

    def describe(self) -> MachineInfo:
        """Tell what the machine is and does. For the loop's thread, or while the loop does not run."""
        return MachineInfo(
            name=self.name,
            pid=os.getpid(),
            paused=self.loop.paused,
            clock_ns=self._machine.clock.now,
            cpu=self._cpu(),
            work=[*self._work.values()],
            qtest=self._qtest,
            devices=[entry.name for entry in self._machine.devices],
            terminals=self._terminals(),
            version=self._version,
        )

    def _cpu(self) -> CpuInfo | None:
        execution = self._machine.execution
        if execution is None:
            return None
        state = execution.save()
        return CpuInfo(
            ticks=state.ticks,
            activity=state.activity.value,
            at=f"{state.cs.selector:04x}:{state.rip:x}",
            stands_still=execution.stands_still,
            pace=self.loop.pace.value,
        )

    def _terminals(self) -> dict[str, str]:
        frontends = [frontend for device in self._devices()["devices"] for frontend in device["frontends"]]
        backends = {frontend["name"]: frontend["backend"] for frontend in frontends}
        return {
            name: each["path"] for name, each in backends.items() if each and each["type"] == "pty" and each["path"]
        }

    def _devices(self) -> DeviceList:
        return DeviceList(devices=[self._device(entry) for entry in self._machine.devices])

    def _device(self, entry: DeviceEntry) -> DeviceInfo:
        return DeviceInfo(
            name=entry.name,
            type=entry.type.name,
            claims=[str(claim) for claim in self._machine.devices.claims(entry.name)],
            frontends=[self._frontend(kind, name) for kind, name in self._machine.devices.frontends.of(entry.name)],
        )

    def _frontend(self, kind: FrontendKind, name: str) -> FrontendInfo:
        devices = self._machine.config.devices
        backend = {backend.frontend: backend for device in devices for backend in device.backends}.get(name)
        if backend is None:
            return FrontendInfo(name=name, kind=kind.value, backend=None)
        path = backend.options.get("path")
        if kind is FrontendKind.CHAR:
            tap = self._machine.devices.frontends["char"].backends.get(name)
            path = _host_path(tap.backend, path) if isinstance(tap, Tap) else path
        return FrontendInfo(
            name=name,
            kind=kind.value,
            backend=BackendInfo(type=backend.type, path=path if isinstance(path, str) else None),
        )

    def change_medium(self, request: MediaRequest) -> DriveInfo:
        """Put an image into a drive, or take out what is there. The machine runs on while the image is opened.

        Raises:
            NotFoundError: there is no such drive, or no such file.
            UsageError: it is a hard disk; or there are no images in that place, see `chkpt.service.paths`.
            ConfigError, StorageError: it is no image of a disk, or cannot be opened.
            ConflictError: the guest has locked the tray, and `force` is not given.
            NoMachineError: the machine has ended.
        """
        media.check(self._machine, request.drive)
        raw = [request.drive] if request.raw else []
        with media.opened(self._machine, {request.drive: request.path}, raw) as found:
            medium = found[request.drive]
            put = media.put
            info, old = self.loop.submit(
                lambda: put(self._machine, request.drive, medium, force=request.force)
            ).result()
        if old is not None:
            old.close()
        return info

    @contextmanager
    def _working(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Show how far a save or a load has come; yield what is to be told that. They come one after the other.

        Each takes as much memory as the guest's RAM.
        """
        key = object()

        def progress(done: int, total: int) -> None:
            self._work[key] = WorkInfo(what=what, done=done, total=total)

        with self._one:
            try:
                yield progress
            finally:
                self._work.pop(key, None)

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self, request: SaveRequest) -> SaveReply:
        """Save the machine to a file. It stands still only while its state and RAM are copied.

        Raises:
            ExistsError: there is such a file, and `force` is not given.
            KeyFileError, NotFoundError: the key or a recipient cannot be used.
            SaveError: a device cannot be saved.
            StorageError: the file cannot be written.
            NoMachineError: the machine has ended.
            UsageError: there are no snapshots in that place, see `chkpt.service.paths`.
        """
        return self.save_to(destination(request, self._machine.config))

    def save_to(self, place: Destination, *, copy: bool = True) -> SaveReply:
        """Save the machine to a place that has been checked.

        Without `copy` the RAM is not copied first: the machine must be held, and stay open until this returns.

        Raises:
            ChkptError: as `save` raises.
        """

        def capture() -> tuple[Checkpoint, SaveReport, int]:
            """Save the machine, which stands still meanwhile."""
            checkpoint = Checkpoint()
            return checkpoint, self._machine.save(checkpoint, copy=copy), self._machine.clock.now

        with (
            publishing(place.request.path, force=place.request.force) as file,
            place.seal.sealed(file) as plain,
            self._working("save") as progress,
        ):
            checkpoint, report, clock_ns = self._once_identified(capture, changes=False)
            summary = dump(checkpoint, plain, sign=place.seal.sign, progress=progress)
        return place.reply(file, summary, report, clock_ns)

    def _once_identified(
        self,
        call: Callable[[], T],
        likes: Collection[bytes] = (),
        also: Collection[object] = (),
        *,
        changes: bool = True,
    ) -> T:
        """Let the loop call what needs the identities of the disks, once they are known: the guest runs on meanwhile.

        An image that changes in between is identified once more, but the last time the machine waits for it.
        `likes` and `also` are those of `Machine.unidentified`, `changes` is that of `RunLoop.submit`.
        """
        for _ in range(_ATTEMPTS):
            done: list[T] = []

            def attempt(done: list[T] = done) -> list[Identifies]:
                waiting = self._machine.unidentified(likes, also)
                if not waiting:
                    done.append(call())
                return waiting

            for disk in self.loop.submit(attempt, changes=changes).result():
                try:
                    with self._waiting(disk):
                        for like in (b"", *likes):
                            disk.identify(like)
                except StorageError:
                    if disk in (*self._machine.devices.frontends["block"].backends.values(), *also):
                        raise  # else it is a disc that has been taken out meanwhile: nothing needs its identity
            if done:
                return done[0]
        return self.loop.submit(call, changes=changes).result()

    @contextmanager
    def _waiting(self, disk: Identifies) -> Iterator[None]:
        """Let `end_waits` end what is waited for in the block. The disk may not be in the machine yet."""
        key = object()
        self._waits[key] = disk
        try:
            if self.ends:
                disk.end_identifying()
            yield
        finally:
            del self._waits[key]

    def end_waits(self) -> None:
        """Let nothing that was asked keep the machine from its end: a step, or a wait for the identity of a disk."""
        self.ends = True
        self.end_step()
        self._machine.end_identifying()
        for disk in list(self._waits.values()):
            disk.end_identifying()

    def load(self, request: LoadRequest) -> LoadReply:
        """Load the machine from a file.

        Raises:
            NotFoundError: there is no such file, or no device of a name given.
            RefusedError: the snapshot cannot be taken, or is not signed by whom the request or this machine trusts.
            KeyFileError: the identity cannot be used.
            LoadError: a device cannot be loaded.
            HalfLoadedError: the same, and not everything could be put back. The machine ends.
            StorageError: the file cannot be read.
            NoMachineError: the machine has ended.
            UsageError: there are no snapshots in that place, see `chkpt.service.paths`.
        """
        paths.check_load(request.path)
        identity = None if request.identity is None else Path(request.identity)
        with (
            open_snapshot(request.path, identity=identity, trusted=self._trusted) as reader,
            media.opened(self._machine, request.drives, request.raw) as found,
        ):
            signed_by = [] if request.require is None else trusted_ids(reader, request.require)
            checkpoint = reader.checkpoint()
            seconds = seconds_since(reader) if request.time == "wall" else 0
            if not request.only and not request.skip:
                with self._working("load") as progress:
                    self._machine.prepare(checkpoint, progress)

            def call() -> tuple[LoadReport, int]:
                report = self._machine.load(
                    checkpoint,
                    only=request.only,
                    skip=request.skip,
                    rename=request.rename,
                    strict=request.strict,
                    seconds=seconds,
                    media=found,
                )
                self.loop.end_step()
                self.loop.rebase()
                return report, self._machine.clock.now

            with naming(request.path, RefusedError, LoadError):
                report, clock_ns = self._once_identified(call, identities(checkpoint), _backends(found))
        return LoadReply(
            path=request.path,
            clock_ns=clock_ns,
            loaded=list(report.loaded),
            skipped=skips(report.skipped),
            left=skips(report.left),
            unknown=list(report.unknown),
            signed_by=signed_by,
            dates_advanced=list(report.dated),
            dates_advanced_s=seconds if report.dated else 0,
        )


def _backends(media: Mapping[str, Medium | None]) -> list[object]:
    return [medium.backend for medium in media.values() if medium is not None]


def trusted_ids(reader: Reader, required: Mapping[str, str]) -> list[str]:
    """Return the ids of the keys that have signed, of those required: public keys in hexadecimal, with their names.

    Raises:
        SignatureError: none of them has.
    """
    keys = {bytes.fromhex(key): PublicKey(bytes.fromhex(key), name) for key, name in required.items()}
    return [each.key.id for each in require(reader, keys) if each.verdict is Verdict.VALID]


def _host_path(backend: object, configured: object) -> object:
    """Return where the host finds what a backend has opened, such as a pseudo-terminal, where the backend tells."""
    for name in ("path", "address"):
        found: object = getattr(backend, name, None)
        if found is not None:
            return found if isinstance(found, str) else ":".join(map(str, found)) if isinstance(found, tuple) else None
    return configured
