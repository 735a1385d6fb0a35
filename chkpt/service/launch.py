"""Runs a machine and its service in this process, from the making of its directory to its removal."""

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
from chkpt.machine.drives import leave_out_discs
from chkpt.machine.run.loop import RunLoop
from chkpt.manager import installed_backend_types
from chkpt.seal import TrustedKeys
from chkpt.service import directory
from chkpt.service.api.messages import MachineInfo
from chkpt.service.configure import seconds_since
from chkpt.service.control import RunningMachine
from chkpt.service.http.app import application
from chkpt.service.http.connections import KEEP_ALIVE_SECONDS, MAX_HEAD, Connection, log_failure
from chkpt.service.serial import find_port
from chkpt.service.serial.consoles import Consoles
from chkpt.service.serial.tap import Tap, add_taps
from chkpt.service.until import End, Output, Until, UntilRun, end_of
from chkpt.snapshot import Reader

log = logging.getLogger("chkpt.service")

GRACE_SECONDS: Final = 5
"""How long requests may take to end once the machine is asked to stop."""


@contextmanager
def _ignoring_progress() -> Iterator[Callable[[int, int], None]]:
    """Yield a function that ignores how far a load has come."""
    yield lambda _done, _total: None


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run: a machine's configuration, and how it begins.

    Args:
        config: the machine.
        load: the open snapshot that the machine begins from; it is closed once it is loaded.
        left_out: drives that the load leaves empty, as if their discs had been taken out.
        loading: entered around the load; yields the function that takes the bytes of RAM done so far, and their total.
        dates_advance: let the dates that the devices keep go on by the time since the snapshot was created.
        trusted: one of these keys must sign what is loaded later; None to ask for no signature.
        paused: begin with the machine paused.
        qtest: where its qtest client is, and `qtest_text` the same as the user gave it.
        until: the goal at which the run ends.
        output: the descriptor that gets what the serial port sends, in a run with a goal.
        pace: used in place of the configuration's.
        attend: called before the guest's first output, with a stream to and from the serial port `port` (by default
            com1 or the only one). The context manager that it returns is entered then, and left once the machine has
            ended and closed its end of the stream.
    """

    config: MachineConfig
    load: Reader | None = None
    left_out: Collection[str] = ()
    loading: Callable[[], AbstractContextManager[Callable[[int, int], None]]] = _ignoring_progress
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
    """Run a machine until it is asked to stop, and return how it ended.

    A request to its service stops it, or SIGTERM, SIGINT or SIGHUP, the end of stdio, its guest, or `launch.until`.

    Args:
        launch: what to run.
        ready: called once the service answers, with the machine and the path of its socket.

    Raises:
        ChkptError: the machine could not be started, and nothing is left of it; or it failed while it ran.
    """
    with _handling_signals() as signals, _unwinding(signals) as stack:
        place = _claim_name(launch, stack, signals)
        machine = _make_machine(launch, stack)
        taps = _connect_taps(machine)
        _load(machine, launch)
        loop = RunLoop(machine, wall_clock=launch.qtest is None, pace=_choose_pace(launch))
        output = None if launch.output is None else Output(launch.output, lambda: loop.has_calls, loop.stop)
        running = RunningMachine(loop, qtest=launch.qtest_text, trusted=launch.trusted)
        watched = None if launch.until is None else UntilRun(running, taps, launch.until, output)
        if watched is not None:
            stack.callback(watched.join)
        if launch.paused:
            loop.pause()
        consoles = _open_consoles(loop, taps, place, stack, signals)
        with signals.holding():
            if launch.qtest is not None:
                stack.callback(_add_qtest(loop, launch.qtest))
            listener = stack.enter_context(sockets.listen(place / directory.API))
        info = running.describe()
        if launch.attend is not None:
            own = consoles[find_port(machine.name, [*consoles], launch.port)]
            _attend(own, launch.attend, loop, stack, signals)
        _serve(running, listener, signals, lambda: ready(info, place / directory.API))
        end = end_of(machine)
        if watched is not None and loop.error is None:
            end = watched.conclude(end)
    if loop.error is not None:
        raise DeviceError(f"machine {machine.name} failed: {loop.error!r}") from loop.error
    if output is not None:
        output.flush()
    return end


# -- the parts of a machine -------------------------------------------------------------------------------------------


def _claim_name(launch: Launch, stack: ExitStack, signals: "_SignalHandler") -> Path:
    """Claim the machine's name, and return the directory of its sockets. The stack closes `launch.load`, too."""
    with signals.holding():
        claimed = directory.claim(launch.config.name)
        stack.callback(claimed.remove)
    if launch.load is not None:
        stack.callback(launch.load.close)
    return claimed.path


def _make_machine(launch: Launch, stack: ExitStack) -> Machine:
    machine = Machine(launch.config, backend_types=add_taps(installed_backend_types()), boot=launch.load is None)
    stack.callback(machine.close)
    return machine


def _load(machine: Machine, launch: Launch) -> None:
    """Load the snapshot that the machine begins from, if there is one."""
    if launch.load is not None:
        with launch.load as reader:
            seconds = seconds_since(reader) if launch.dates_advance else 0
            with launch.loading() as progress, leave_out_discs(machine, launch.left_out):
                checkpoint = reader.checkpoint()
                machine.prepare(checkpoint, progress)
                machine.load(checkpoint, seconds=seconds)


def _choose_pace(launch: Launch) -> Pace:
    """Return the pace asked for, else the configured one; else `FREE` for a run with a goal, and `IDLE` for a user."""
    cpu = launch.config.cpu
    configured = None if cpu is None else cpu.pace
    return launch.pace or configured or (Pace.FREE if launch.until is not None else Pace.IDLE)


def _connect_taps(machine: Machine) -> dict[str, Tap]:
    """Return the tap of each serial port. A port without a backend gets a tap as its backend."""
    char = machine.devices.frontends["char"]
    for name in char.names:
        if name not in char.backends:
            machine.devices.connect_char(name, Tap())
    return {name: tap for name, tap in char.backends.items() if isinstance(tap, Tap)}


def _open_consoles(
    loop: RunLoop, taps: dict[str, Tap], place: Path, stack: ExitStack, signals: "_SignalHandler"
) -> dict[str, Consoles]:
    """Accept consoles for each serial port, at a socket in `place`."""
    consoles: dict[str, Consoles] = {}
    for name, tap in taps.items():
        with signals.holding():
            listener = sockets.listen(place / f"{name}{directory.CONSOLE}")
            consoles[name] = Consoles(listener, tap, paused=lambda: loop.paused)
            stack.callback(consoles[name].close)
        loop.add(consoles[name])
    return consoles


def _attend(
    consoles: Consoles,
    attend: Callable[[socket.socket], AbstractContextManager[object]],
    loop: RunLoop,
    stack: ExitStack,
    signals: "_SignalHandler",
) -> None:
    """Give `attend` a stream to and from the port. The stream gets the last of the output before it ends."""
    with signals.holding():
        stream = consoles.attach(lambda: loop.has_calls)
        stack.callback(stream.close)
        stack.enter_context(attend(stream))
        stack.callback(consoles.conclude)


# -- qtest ------------------------------------------------------------------------------------------------------------


def _add_qtest(loop: RunLoop, chardev: Chardev) -> Callable[[], None]:
    """Let the loop speak qtest; return the function that ends it."""
    channel = QtestChannel(loop.machine, chardev, called=lambda: loop.has_calls, ended=loop.stop)
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
        if self._start is not None and self._channel.fileno() != before:  # it was the listener's, and is the client's
            self._start()
            self._start = None


# -- HTTP and signals -------------------------------------------------------------------------------------------------


class _SignalHandler:
    """Handles the signals that end the process: it asks the server to stop.

    While the machine is being made there is no server yet, and the handler raises SystemExit. In a block of `holding`
    the exception waits for the end of the block, so that nothing is left half made.
    """

    def __init__(self) -> None:
        self.server: uvicorn.Server | None = None
        self.is_over = False
        self._holds = False
        self._number = 0

    def __call__(self, number: int, _: FrameType | None) -> None:
        earlier, self._number = self._number, self._number or number
        if self.server is not None:
            self.server.should_exit = True
        elif not earlier and not self._holds and not self.is_over:
            raise SystemExit(128 + number)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hold the exception back in a block that makes something and notes how to undo it."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
        if self._number:
            raise SystemExit(128 + self._number)


@contextmanager
def _unwinding(signals: _SignalHandler) -> Iterator[ExitStack]:
    """Yield a stack. No signal disturbs it while it undoes things at its end."""
    with ExitStack() as stack:
        try:
            yield stack
        finally:
            signals.is_over = True


@contextmanager
def _handling_signals() -> Iterator[_SignalHandler]:
    """Handle the signals that end a process, but not those that the process was started to ignore (nohup)."""
    handler = _SignalHandler()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    replaced = {number: old for number, old in before.items() if old not in {signal.SIG_IGN, None}}
    if threading.current_thread() is not threading.main_thread():
        replaced = {}  # only the main thread handles signals
    try:
        for number in replaced:
            signal.signal(number, handler)
        yield handler
    finally:
        for number, old in replaced.items():
            signal.signal(number, old)


class _Server(uvicorn.Server):
    """uvicorn, which reports when it is ready, and leaves signals to us."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], on_shutdown: Callable[[], object]) -> None:
        """Call `ready` once it answers, and `on_shutdown` before it waits for the last answers."""
        super().__init__(config)
        self._ready = ready
        self._on_shutdown = on_shutdown

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(log_failure)
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_shutdown()
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):  # clients that have not taken their answers by now
            connection.transport.abort()


def _serve(
    running: RunningMachine, listener: socket.socket, signals: _SignalHandler, ready: Callable[[], None]
) -> None:
    """Run the loop in a thread of its own and the service in this one, until either ends."""

    def stop() -> None:
        server.should_exit = True

    def run() -> None:
        with suppress(Exception):  # the loop logs the error and keeps it in `error`
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
    signals.server = server
    thread = threading.Thread(target=run, name=f"machine {running.name}")
    running.loop.rebase()
    thread.start()
    try:
        server.run(sockets=[listener])
    finally:
        running.loop.stop()
        thread.join()
