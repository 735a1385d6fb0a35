"""A machine that runs in this process, and the requests that other threads make to it.

The run loop does everything that touches the machine, between two rounds. The thread that asks does what takes time and
does not touch the machine, such as waiting for the disk.
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
from chkpt.service.save import Destination, check_destination, skips
from chkpt.service.serial.tap import Tap
from chkpt.snapshot import Reader, dump
from chkpt.store import publishing
from chkpt.version import __version__

_ATTEMPTS: Final = 3
"""How many times a changing image is identified while the guest runs. After that the machine waits for it."""

T = TypeVar("T")


class RunningMachine:
    """A machine that a run loop runs. Other threads may call every method but `describe`.

    If a method returns a future, the loop does the work between two rounds; the future fails with NoMachineError once
    the loop has ended. The others wait.
    """

    def __init__(self, loop: RunLoop, *, qtest: str | None = None, trusted: TrustedKeys | None = None) -> None:
        """Take over the loop.

        Args:
            loop: runs the machine.
            qtest: where qtest comes from, as `describe` shows it.
            trusted: one of these keys must have signed every snapshot that is loaded; None to ask for no signature.
        """
        self.loop = loop
        self.name = loop.machine.name
        self._machine = loop.machine
        self._qtest = qtest
        self._trusted = trusted
        self._version = __version__
        self._work: dict[object, WorkInfo] = {}  # saves and loads in progress, each by a key of its own
        self._work_lock = Lock()
        self._waits: dict[object, Identifies] = {}  # disks that are being identified, each by a key of its own
        self.is_ending = False

    # -- done by the loop between two rounds --------------------------------------------------------------------------

    def info(self) -> "Future[MachineInfo]":
        """Return what the machine is and does."""
        return self.loop.submit(self.describe, changes=False)

    def devices(self) -> "Future[DeviceList]":
        """Return the devices, what they claim and what is connected to them."""
        return self.loop.submit(self._describe_devices, changes=False)

    def media(self) -> "Future[DriveList]":
        """Return the drives and what is in each."""
        return self.loop.submit(lambda: DriveList(drives=media.list_drives(self._machine)), changes=False)

    def pause(self) -> "Future[MachineInfo]":
        """Stop the clock and the input from backends."""
        return self._do(self.loop.pause)

    def resume(self) -> "Future[MachineInfo]":
        """Go on after a pause."""
        return self._do(self.loop.resume)

    def step(self, request: StepRequest) -> "Future[StepReply]":
        """Run the paused machine on, then leave it paused. The future is done at the end of the step.

        Raises, in the future:
            UsageError: more than one distance was given, the machine is not paused, or another step is in progress.
            ConfigError: it has no CPU; with `ns` it needs none.
        """
        future: Future[StepReply] = Future()
        future.set_running_or_notify_cancel()  # the step goes on if the client goes away

        def finish(outcome: Outcome | None) -> None:
            name = "interrupted" if outcome is None else outcome.value
            future.set_result(StepReply(outcome=name, machine=self.describe()))

        def pass_error(call: "Future[None]") -> None:
            exc = call.exception()
            if exc is not None:
                future.set_exception(exc)

        self.loop.submit(lambda: self._step(request, finish)).add_done_callback(pass_error)
        return future

    def end_step(self) -> "Future[None]":
        """End a step early, if one is in progress."""
        return self.loop.submit(self.loop.end_step)

    def _step(self, request: StepRequest, finish: Callable[[Outcome | None], None]) -> None:
        given = [each for each in (request.ticks, request.blocks, request.ns) if each is not None]
        if len(given) > 1:
            raise UsageError("a step takes one of ticks, blocks and ns, not several")
        if request.ns is not None:
            self.loop.step(Goal(finish, until=self._machine.clock.now + request.ns))
            return
        begin = self._machine.processor().cpu.ticks
        ticks = None if request.ticks is None else begin + request.ticks
        self.loop.step(Goal(finish, ticks, blocks=request.blocks if given else 1))

    def reset(self) -> "Future[MachineInfo]":
        """Press the reset button."""
        return self._do(self._machine.reset)

    def _do(self, act: Callable[[], None]) -> "Future[MachineInfo]":
        def call() -> MachineInfo:
            act()
            return self.describe()

        return self.loop.submit(call)

    def describe(self) -> MachineInfo:
        """Return what the machine is and does. For the loop's thread, or while the loop does not run."""
        return MachineInfo(
            name=self.name,
            pid=os.getpid(),
            paused=self.loop.paused,
            clock_ns=self._machine.clock.now,
            cpu=self._describe_cpu(),
            work=[*self._work.values()],
            qtest=self._qtest,
            devices=[entry.name for entry in self._machine.devices],
            terminals=self._find_terminals(),
            version=self._version,
        )

    def _describe_cpu(self) -> CpuInfo | None:
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

    def _find_terminals(self) -> dict[str, str]:
        devices = self._describe_devices()["devices"]
        frontends = [frontend for device in devices for frontend in device["frontends"]]
        backends = {frontend["name"]: frontend["backend"] for frontend in frontends}
        return {
            name: each["path"] for name, each in backends.items() if each and each["type"] == "pty" and each["path"]
        }

    def _describe_devices(self) -> DeviceList:
        return DeviceList(devices=[self._describe_device(entry) for entry in self._machine.devices])

    def _describe_device(self, entry: DeviceEntry) -> DeviceInfo:
        frontends = self._machine.devices.frontends.of(entry.name)
        return DeviceInfo(
            name=entry.name,
            type=entry.type.name,
            claims=[str(claim) for claim in self._machine.devices.claims(entry.name)],
            frontends=[self._describe_frontend(kind, name) for kind, name in frontends],
        )

    def _describe_frontend(self, kind: FrontendKind, name: str) -> FrontendInfo:
        devices = self._machine.config.devices
        backend = {backend.frontend: backend for device in devices for backend in device.backends}.get(name)
        if backend is None:
            return FrontendInfo(name=name, kind=kind.value, backend=None)
        path = backend.options.get("path")
        if kind is FrontendKind.CHAR:
            tap = self._machine.devices.frontends["char"].backends.get(name)
            path = _find_host_path(tap.backend, path) if isinstance(tap, Tap) else path
        return FrontendInfo(
            name=name,
            kind=kind.value,
            backend=BackendInfo(type=backend.type, path=path if isinstance(path, str) else None),
        )

    def change_medium(self, request: MediaRequest) -> DriveInfo:
        """Put an image into a drive, or take out the medium in it. The machine runs on while the image is opened.

        Raises:
            NotFoundError: there is no such drive, or no such file.
            UsageError: it is a hard disk; or `chkpt.service.paths` refuses the path.
            ConfigError, StorageError: it is not a disk image, or cannot be opened.
            ConflictError: the guest has locked the tray, and `force` is not given.
            NoMachineError: the machine has ended.
        """
        media.check_removable(self._machine, request.drive)
        raw = [request.drive] if request.raw else []
        with media.opening(self._machine, {request.drive: request.path}, raw) as found:
            medium = found[request.drive]
            put = media.put
            info, old = self.loop.submit(
                lambda: put(self._machine, request.drive, medium, force=request.force)
            ).result()
        if old is not None:
            old.close()
        return info

    @contextmanager
    def _showing_work(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Show a save or a load in `describe`; yield the function that takes its progress.

        Saves and the reading of RAM take turns, as each needs as much memory as the guest's RAM.
        """
        key = object()

        def progress(done: int, total: int) -> None:
            self._work[key] = WorkInfo(what=what, done=done, total=total)

        with self._work_lock:
            try:
                yield progress
            finally:
                self._work.pop(key, None)

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self, request: SaveRequest) -> SaveReply:
        """Save the machine to a file. The machine stands still only while its state and RAM are copied.

        Raises:
            ExistsError: the file exists, and `force` is not given.
            KeyFileError, NotFoundError: the key or a recipient cannot be used.
            SaveError: a device cannot be saved.
            StorageError: the file cannot be written.
            NoMachineError: the machine has ended.
            UsageError: `chkpt.service.paths` refuses the path.
        """
        return self.save_to(check_destination(request, self._machine.config))

    def save_to(self, place: Destination, *, copy: bool = True) -> SaveReply:
        """Save the machine to a destination that `check_destination` has returned.

        Without `copy` the RAM is not copied first: the loop must hold the machine, and the machine must stay open until
        this returns.

        Raises:
            ChkptError: as `save` raises.
        """

        def capture() -> tuple[Checkpoint, SaveReport, int]:
            """Save the machine. It stands still meanwhile."""
            checkpoint = Checkpoint()
            return checkpoint, self._machine.save(checkpoint, copy=copy), self._machine.clock.now

        with (
            publishing(place.request.path, force=place.request.force) as file,
            place.seal.wrapping(file) as plain,
            self._showing_work("save") as progress,
        ):
            checkpoint, report, clock_ns = self._call_once_identified(capture, changes=False)
            summary = dump(checkpoint, plain, sign=place.seal.sign, progress=progress)
        return place.reply(file, summary, report, clock_ns)

    def _call_once_identified(
        self,
        call: Callable[[], T],
        likes: Collection[bytes] = (),
        also: Collection[object] = (),
        *,
        changes: bool = True,
    ) -> T:
        """Identify the disks while the guest runs on, then let the loop call `call`, which needs their identities.

        If an image changes in between, it is identified again. After `_ATTEMPTS` times `call` itself identifies it, and
        the machine waits. `likes` and `also` are as in `Machine.unidentified_disks`, `changes` as in `RunLoop.submit`.
        """
        for _ in range(_ATTEMPTS):
            done: list[T] = []

            def attempt(done: list[T] = done) -> list[Identifies]:
                waiting = self._machine.unidentified_disks(likes, also)
                if not waiting:
                    done.append(call())
                return waiting

            for disk in self.loop.submit(attempt, changes=changes).result():
                try:
                    with self._noting_wait(disk):
                        for like in (b"", *likes):
                            disk.identify(like)
                except StorageError:
                    if disk in (*self._machine.devices.frontends["block"].backends.values(), *also):
                        raise  # else the disc has been taken out meanwhile, and its identity is not needed
            if done:
                return done[0]
        return self.loop.submit(call, changes=changes).result()

    @contextmanager
    def _noting_wait(self, disk: Identifies) -> Iterator[None]:
        """Let `end_waits` end the wait for `disk` in the block. The disk may not be in the machine yet."""
        key = object()
        self._waits[key] = disk
        try:
            if self.is_ending:
                disk.end_identifying()
            yield
        finally:
            del self._waits[key]

    def end_waits(self) -> None:
        """End what would delay the end of the machine: a step, and waits for the identities of disks."""
        self.is_ending = True
        self.end_step()
        self._machine.end_identifying()
        for disk in list(self._waits.values()):
            disk.end_identifying()

    def load(self, request: LoadRequest) -> LoadReply:
        """Load the machine from a file.

        Raises:
            NotFoundError: there is no such file, or no device of a given name.
            RefusedError: the snapshot is not valid, or not signed by a key that the request or this machine trusts.
            KeyFileError: the identity cannot be used.
            LoadError: a device cannot be loaded.
            HalfLoadedError: a device cannot be loaded, and not everything could be put back. The machine ends.
            StorageError: the file cannot be read.
            NoMachineError: the machine has ended.
            UsageError: `chkpt.service.paths` refuses the path.
        """
        paths.check_load(request.path)
        identity = None if request.identity is None else Path(request.identity)
        with (
            open_snapshot(request.path, identity=identity, trusted=self._trusted) as reader,
            media.opening(self._machine, request.drives, request.raw) as found,
        ):
            signed_by = [] if request.require is None else trusted_ids(reader, request.require)
            checkpoint = reader.checkpoint()
            seconds = seconds_since(reader) if request.time == "wall" else 0
            if not request.only and not request.skip:
                with self._showing_work("load") as progress:
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
                backends = [medium.backend for medium in found.values() if medium is not None]
                report, clock_ns = self._call_once_identified(call, identities(checkpoint), backends)
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


def trusted_ids(reader: Reader, required: Mapping[str, str]) -> list[str]:
    """Return the ids of the required keys that have signed. `required` maps public keys in hexadecimal to names.

    Raises:
        SignatureError: none of them has signed.
    """
    keys = {bytes.fromhex(key): PublicKey(bytes.fromhex(key), name) for key, name in required.items()}
    return [each.key.id for each in require(reader, keys) if each.verdict is Verdict.VALID]


def _find_host_path(backend: object, configured: object) -> object:
    """Return the path or address that a backend has opened, such as a pseudo-terminal's; else the configured one."""
    for name in ("path", "address"):
        found: object = getattr(backend, name, None)
        if found is not None:
            return found if isinstance(found, str) else ":".join(map(str, found)) if isinstance(found, tuple) else None
    return configured
