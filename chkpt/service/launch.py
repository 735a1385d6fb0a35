"""Runs a machine and its service in this process, from an empty directory to the last socket removed."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn  # noqa: TID253  only `chkpt run` imports this module

from chkpt import sockets
from chkpt.errors import DeviceError
from chkpt.interop.chardev import Chardev, QtestChannel
from chkpt.machine import Machine, MachineConfig
from chkpt.machine.config import Pace
from chkpt.machine.drives import leaving_out
from chkpt.machine.run.loop import RunLoop
from chkpt.manager import installed_backend_types
from chkpt.seal import TrustedKeys
from chkpt.service import directory
from chkpt.service.api.messages import MachineInfo
from chkpt.service.configure import seconds_since
from chkpt.service.control import RunningMachine
from chkpt.service.http.app import application
from chkpt.service.http.connections import KEEP_ALIVE_SECONDS, MAX_HEAD, Connection, quiet
from chkpt.service.serial import find_port
from chkpt.service.serial.consoles import Consoles
from chkpt.service.serial.tap import Tap, tapped
from chkpt.service.until import End, Output, Until, UntilRun, end_of
from chkpt.snapshot import Reader

log = logging.getLogger("chkpt.service")

GRACE_SECONDS: Final = 5
"""How long requests may take to end once the machine is told to stop."""


@contextmanager
def _unwatched() -> Iterator[Callable[[int, int], None]]:
    """Show nobody how far a load has come."""
    yield lambda _done, _total: None


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run: a machine's configuration, and how it begins.

    `load` is the snapshot it begins from, open; it is closed once it is loaded; its discs in the drives
    `left_out` have been taken out, for the guest. `loading` is entered around the load; what it yields is called with
    the bytes of RAM that were gone through, and all of them. With `dates_advance` the dates that its
    devices keep go on by the time since it was created. `trusted` are the keys of which one
    must have signed what is loaded later, None where none need have. `qtest` is where its qtest client is and
    `qtest_text` the same as it was given; `until` is where it ends by itself, and `output` the descriptor that then
    gets what the serial port sends. `pace` is taken in place of the configuration's. `attend` is given a stream to and
    from the serial port `port` (com1, or the only one) before the guest's first word; what it returns is entered then,
    and left once the machine has ended and has closed its end.
    """

    config: MachineConfig
    load: Reader | None = None
    left_out: Collection[str] = ()
    loading: Callable[[], AbstractContextManager[Callable[[int, int], None]]] = _unwatched
    dates_advance: bool = False
    trusted: TrustedKeys | None = None
    paused: bool = False
    qtest: Chardev | None = None
    qtest_text: str | None = None
    until: Until | None = None
    output: int | None = None
    pace: Pace | None = None
    attend: Callable[[socket.socket], AbstractContextManager[object]] | None = None
    port: str | None = None


def serve(launch: Launch, ready: Callable[[MachineInfo, Path], None]) -> End:
    """Run a machine until it is told to stop, and return how it ended.

    It is told by its service, by SIGTERM, SIGINT or SIGHUP, by the end of stdio, by its guest, or by `launch.until`.

    Args:
        launch: what to run.
        ready: called once the service answers, with the machine and the path of its socket.

    Raises:
        ChkptError: the machine could not be started, and nothing of it is left; or it failed while it ran.
    """
    with _signals() as ending, _taken_down(ending) as stack:
        place = _claimed(launch, stack, ending)
        machine = _made(launch, stack)
        taps = _taps(machine)
        _load(machine, launch)
        loop = RunLoop(machine, wall_clock=launch.qtest is None, pace=_pace(launch))
        output = None if launch.output is None else Output(launch.output, lambda: loop.called, loop.stop)
        running = RunningMachine(loop, qtest=launch.qtest_text, trusted=launch.trusted)
        watched = None if launch.until is None else UntilRun(running, taps, launch.until, output)
        if watched is not None:
            stack.callback(watched.join)
        if launch.paused:
            loop.pause()
        consoles = _consoles(loop, taps, place, stack, ending)
        with ending.held():
            if launch.qtest is not None:
                stack.callback(_add_qtest(loop, launch.qtest))
            listener = stack.enter_context(sockets.listen(place / directory.API))
        info = running.describe()
        if launch.attend is not None:
            own = consoles[find_port(machine.name, [*consoles], launch.port)]
            _attend(own, launch.attend, loop, stack, ending)
        _serve(running, listener, ending, lambda: ready(info, place / directory.API))
        end = end_of(machine)
        if watched is not None and loop.error is None:
            end = watched.conclude(end)
    if loop.error is not None:
        raise DeviceError(f"machine {machine.name} failed: {loop.error!r}") from loop.error
    if output is not None:
        output.flush()
    return end


# -- what a machine is made of ----------------------------------------------------------------------------------------


def _claimed(launch: Launch, stack: ExitStack, ending: "_Ending") -> Path:
    """Take the machine's name, and return the directory of its sockets. `launch.load` is closed at the end, too."""
    with ending.held():
        claimed = directory.claim(launch.config.name)
        stack.callback(claimed.remove)
    if launch.load is not None:
        stack.callback(launch.load.close)
    return claimed.path


def _made(launch: Launch, stack: ExitStack) -> Machine:
    machine = Machine(launch.config, backend_types=tapped(installed_backend_types()), boot=launch.load is None)
    stack.callback(machine.close)
    return machine


def _load(machine: Machine, launch: Launch) -> None:
    """Load what the machine begins from, if it does."""
    if launch.load is not None:
        with launch.load as reader:
            seconds = seconds_since(reader) if launch.dates_advance else 0
            with launch.loading() as progress, leaving_out(machine, launch.left_out):
                checkpoint = reader.checkpoint()
                machine.prepare(checkpoint, progress)
                machine.load(checkpoint, seconds=seconds)


def _pace(launch: Launch) -> Pace:
    """Return the pace asked for; else a script gets its end soon, and a user's guest waits as long as it should."""
    cpu = launch.config.cpu
    configured = None if cpu is None else cpu.pace
    return launch.pace or configured or (Pace.FREE if launch.until is not None else Pace.IDLE)


def _taps(machine: Machine) -> dict[str, Tap]:
    """Return the tap of each serial port; a port without a backend gets one of its own."""
    char = machine.devices.frontends["char"]
    for name in char.names:
        if name not in char.backends:
            machine.devices.connect_char(name, Tap())
    return {name: tap for name, tap in char.backends.items() if isinstance(tap, Tap)}


def _consoles(
    loop: RunLoop, taps: dict[str, Tap], place: Path, stack: ExitStack, ending: "_Ending"
) -> dict[str, Consoles]:
    """Let consoles come to each serial port, each at a socket in `place`."""
    made: dict[str, Consoles] = {}
    for name, tap in taps.items():
        with ending.held():
            listener = sockets.listen(place / f"{name}{directory.CONSOLE}")
            made[name] = Consoles(listener, tap, paused=lambda: loop.paused)
            stack.callback(made[name].close)
        loop.add(made[name])
    return made


def _attend(
    consoles: Consoles,
    attend: Callable[[socket.socket], AbstractContextManager[object]],
    loop: RunLoop,
    stack: ExitStack,
    ending: "_Ending",
) -> None:
    """Give `attend` a stream to and from the port, which has the last of the output before it ends."""
    with ending.held():
        stream = consoles.attach(lambda: loop.called)
        stack.callback(stream.close)
        stack.enter_context(attend(stream))
        stack.callback(consoles.conclude)


# -- qtest ------------------------------------------------------------------------------------------------------------


def _add_qtest(loop: RunLoop, chardev: Chardev) -> Callable[[], None]:
    """Let the loop speak qtest; return how to end that."""
    channel = QtestChannel(loop.machine, chardev, called=lambda: loop.called, ended=loop.stop)
    if chardev.server and chardev.wait and not loop.paused:
        loop.pause()
        loop.add(_FirstClient(channel, loop.resume))
    else:
        loop.add(channel)
    return channel.close


class _FirstClient:
    """A qtest channel whose machine takes nothing from its backends until the first client has come."""

    def __init__(self, channel: QtestChannel, start: Callable[[], None]) -> None:
        self._channel = channel
        self._start: Callable[[], None] | None = start
        self.wants_write = channel.wants_write
        self.fileno = channel.fileno

    def poll(self) -> None:
        before = self._channel.fileno()
        self._channel.poll()
        if self._start is not None and self._channel.fileno() != before:  # the listener's before, now the client's
            self._start()
            self._start = None


# -- HTTP and signals -------------------------------------------------------------------------------------------------


class _Ending:
    """What a signal does: while the machine is being made, an exception; later, a word to the server.

    An exception comes only where nothing can be half made by it: it waits for the end of `held`.
    """

    def __init__(self) -> None:
        self.server: uvicorn.Server | None = None
        self.over = False
        self._holds = False
        self._number = 0

    def __call__(self, number: int, _: FrameType | None) -> None:
        told, self._number = self._number, self._number or number
        if self.server is not None:
            self.server.should_exit = True
        elif not told and not self._holds and not self.over:
            raise SystemExit(128 + number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the exception back, to the end of what makes something and tells how to undo it."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
        if self._number:
            raise SystemExit(128 + self._number)


@contextmanager
def _taken_down(ending: _Ending) -> Iterator[ExitStack]:
    """Yield a stack. While it takes things down at its end, no signal disturbs it."""
    with ExitStack() as stack:
        try:
            yield stack
        finally:
            ending.over = True


@contextmanager
def _signals() -> Iterator[_Ending]:
    """Take the signals that end a process, but for those it was started to ignore (nohup)."""
    ending = _Ending()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    taken = {number: handler for number, handler in before.items() if handler not in {signal.SIG_IGN, None}}
    if threading.current_thread() is not threading.main_thread():
        taken = {}  # signals are not for this thread
    try:
        for number in taken:
            signal.signal(number, ending)
        yield ending
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    """uvicorn, which tells when it is ready, and leaves signals to us."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], ends: Callable[[], object]) -> None:
        """Call `ready` once it answers, and `ends` when it begins to wait for the last answers."""
        super().__init__(config)
        self._ready = ready
        self._ends = ends

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(quiet)
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ends()
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):  # whoever has not taken its answer by now
            connection.transport.abort()


def _serve(running: RunningMachine, listener: socket.socket, ending: _Ending, ready: Callable[[], None]) -> None:
    """Run the loop in a thread of its own and the service in this one, until either ends."""

    def stop() -> None:
        server.should_exit = True

    def run() -> None:
        with suppress(Exception):  # the loop has logged it, and keeps it in `error`
            running.loop.run()
        stop()

    config = uvicorn.Config(
        application(running, stop),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        loop="asyncio",
        http=Connection,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config, ready, running.end_waits)
    ending.server = server
    thread = threading.Thread(target=run, name=f"machine {running.name}")
    running.loop.rebase()
    thread.start()
    try:
        server.run(sockets=[listener])
    finally:
        running.loop.stop()
        thread.join()
