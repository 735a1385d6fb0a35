"""Write an experiment as a qtest transcript, and read it again.

Most steps are commands of QEMU's qtest protocol. The others have commands of ours, see below. `>` begins a command and
`<` its answer, as in the traces in `tests/traces/`. Every other line is a comment or a mark.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from chkpt.errors import ConfigError, UsageError
from chkpt.grammar import (
    Acknowledge,
    Frame,
    In,
    Insw,
    Line,
    Medium,
    Modem,
    Out,
    Outsw,
    Plug,
    Rdmsr,
    Read,
    Receive,
    Reset,
    Retry,
    Room,
    Step,
    Wait,
    Write,
    Wrmsr,
)
from chkpt.machine import MachineConfig
from chkpt.machine.config import parse
from chkpt.prove.bench import Bench
from chkpt.prove.lockstep import AT_THE_CUT, Divergence, Experiment, Way, attempt, run
from chkpt.prove.setup import Setup

MACHINE: Final = "# machine: "
"""Begins the first line, before the machine's configuration as JSON."""

CUT: Final = str(Way.WHOLE)
"""The mark of the place where the machine is saved, and another one loaded."""

AHEAD: Final = ": ns ahead: "
"""Follows the mark of a partial load. After it stands how far ahead the other machine's clock is."""

USED: Final = "# used"
"""The mark of the steps that the other machine does before it is loaded."""

_MOST_DIGITS: Final = 18

LETTERS: Final = {1: "b", 2: "w", 4: "l", 8: "q"}

_WRITE: Final[Mapping[type, Callable[[Any], str]]] = {
    In: lambda step: f"in{LETTERS[step.width]} {step.port:#x}",
    Out: lambda step: f"out{LETTERS[step.width]} {step.port:#x} {step.value:#x}",
    Insw: lambda step: f"insw {step.port:#x} {step.count}",
    Outsw: lambda step: f"outsw {step.port:#x} {len(step.data) // 2} 0x{step.data.hex()}",
    Read: lambda step: f"read{LETTERS[step.width]} {step.address:#x}",
    Write: lambda step: f"write{LETTERS[step.width]} {step.address:#x} {step.value:#x}",
    Rdmsr: lambda step: f"rdmsr {step.msr:#x}",
    Wrmsr: lambda step: f"wrmsr {step.msr:#x} {step.value:#x}",
    Wait: lambda step: "clock_step" if step.ns is None else f"clock_step {step.ns}",
    Line: lambda step: f"set_irq_in pic{step.number >> 3} unnamed-gpio-in {step.number & 7} {int(step.level)}",
    Acknowledge: lambda _: "acknowledge",
    Receive: lambda step: f"receive {step.frontend} 0x{step.data.hex()} {step.errors:#x}",
    Modem: lambda step: f"modem {step.frontend} {step.lines:#x}",
    Room: lambda step: f"room {step.frontend} {'any' if step.count is None else step.count}",
    Medium: lambda step: f"medium {step.frontend} {'works' if step.works else 'fails'}",
    Plug: lambda step: f"{'plug' if step.plugged else 'unplug'} {step.frontend}",
    Retry: lambda _: "retry",
    Frame: lambda step: f"frame {step.frontend} 0x{step.data.hex()}",
    Reset: lambda _: "reset",
}


def _of_width(step: Callable[..., Step], width: int) -> Callable[..., Step]:
    """Return a function that makes an access of this width from its words."""
    return lambda *words: step(*map(_number, words), width=width)


_READ: Final[Mapping[str, Callable[..., Step]]] = {
    **{f"{word}{LETTERS[n]}": _of_width(step, n) for word, step in (("in", In), ("out", Out)) for n in (1, 2, 4)},
    **{f"{word}{LETTERS[n]}": _of_width(step, n) for word, step in (("read", Read), ("write", Write)) for n in LETTERS},
    "insw": lambda port, count: Insw(_number(port), _number(count)),
    "outsw": lambda port, _, data: Outsw(_number(port), _bytes(data)),
    "rdmsr": lambda msr: Rdmsr(_number(msr)),
    "wrmsr": lambda msr, value: Wrmsr(_number(msr), _number(value)),
    "clock_step": lambda ns=None: Wait(None if ns is None else _number(ns)),
    "set_irq_in": lambda pic, _, pin, level: Line(8 * ("pic0", "pic1").index(pic) + _number(pin), level != "0"),
    "acknowledge": Acknowledge,
    "receive": lambda frontend, data, errors="0": Receive(frontend, _bytes(data), _number(errors)),
    "modem": lambda frontend, lines: Modem(frontend, _number(lines)),
    "room": lambda frontend, count: Room(frontend, None if count == "any" else _number(count)),
    "medium": lambda frontend, how: Medium(frontend, works=bool(("fails", "works").index(how))),
    "plug": lambda frontend: Plug(frontend, plugged=True),
    "unplug": lambda frontend: Plug(frontend, plugged=False),
    "retry": Retry,
    "frame": lambda frontend, data: Frame(frontend, _bytes(data)),
    "reset": Reset,
}


def command(step: Step) -> str:
    """Return a step as a command."""
    return _WRITE[type(step)](step)


def parse_command(text: str) -> Step:
    """Return the step that a command is. Raise ValueError if it is none."""
    try:
        word, *arguments = text.split()
        return _READ[word](*arguments)
    except (KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"{text!r} is not a step of a transcript") from exc


def _number(word: str) -> int:
    return int(word, 0)


def _bytes(word: str) -> bytes:
    return bytes.fromhex(word.removeprefix("0x"))


# -- writing ----------------------------------------------------------------------------------------------------------


def write(setup: Setup, experiment: Experiment, found: Divergence | None) -> str:
    """Return the transcript of an experiment, with the answers of the machine that was not restored.

    If its twin differs, a comment shows what both did.
    """
    return "".join(f"{line}\n" for line in (f"{MACHINE}{_table(setup)}", *_lines(setup, experiment, found)))


def _table(setup: Setup) -> str:
    """Return the machine's configuration as JSON; values that JSON does not have become text."""
    return json.dumps(setup.config.table, default=str)


def _lines(setup: Setup, experiment: Experiment, found: Divergence | None) -> Iterator[str]:
    if experiment.used:
        yield USED
        yield from (f"> {command(step)}" for step in experiment.used)
        yield "# and now the machine that is saved"
    bench = Bench(setup)
    yield from _exchanges(bench, experiment.before)
    yield f"{experiment.way}{AHEAD}{experiment.ahead}" if experiment.ahead else str(experiment.way)
    if found is not None and found.step == AT_THE_CUT:
        yield from _comment(found)
    yield from _exchanges(bench, experiment.after)
    if found is not None and found.step != AT_THE_CUT:
        yield from _comment(found)


def _exchanges(bench: Bench, steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        yield f"> {command(step)}"
        answer, raised = attempt(bench.do, step)
        if raised:
            yield f"# raised: {raised}"
        elif isinstance(step, Insw):
            yield f"< OK 0x{answer.to_bytes(2 * step.count, 'little').hex()}"
        elif isinstance(step, In | Read | Rdmsr | Acknowledge):
            yield f"< OK {answer:#06x}"
        else:
            yield f"< OK {bench.machine.clock.now}" if isinstance(step, Wait) else "< OK"


def _comment(found: Divergence) -> Iterator[str]:
    yield f"# went on:  {found.original}"
    yield f"# restored: {found.twin}"


# -- reading ----------------------------------------------------------------------------------------------------------


def read(text: str, name: str = "transcript") -> Experiment:
    """Return the experiment that a transcript shows.

    Raises:
        UsageError: a line is not a command, or there is no cut; the message names the line.
    """
    parts: dict[str, list[Step]] = {"used": [], "before": [], "after": []}
    part, way, ahead = "before", Way.WHOLE, 0
    for number, line in enumerate(text.splitlines(), 1):
        if line == USED:
            part = "used"
        elif line.startswith("#") and part == "used":
            part = "before"
        elif (mark := line.partition(AHEAD))[0] in [*Way]:
            part, way, ahead = "after", Way(mark[0]), _ahead(mark[2])
        elif line.startswith("> "):
            try:
                parts[part].append(parse_command(line[2:]))
            except ValueError as exc:
                raise UsageError(f"{name}: line {number}: {exc}") from exc
        elif line.strip() and line[0] not in "<#":
            raise UsageError(f"{name}: line {number}: {line[:60]!r} is not a line of a transcript")
    if part != "after":
        raise UsageError(f"{name}: it has no line {CUT!r}, where the machine is saved")
    return Experiment(tuple(parts["before"]), tuple(parts["after"]), tuple(parts["used"]), way, ahead)


def _ahead(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < _MOST_DIGITS else 0


def machine_of(text: str, name: str = "transcript") -> MachineConfig:
    """Return the machine that a transcript was made with.

    Raises:
        ConfigError: the transcript does not name it, or it is not a transcript.
    """
    line = next((line for line in text.splitlines() if line.startswith(MACHINE)), None)
    if line is None:
        raise ConfigError(f"{name}: it has no line {MACHINE.strip()!r} that names the machine")
    try:
        table = json.loads(line.removeprefix(MACHINE))
        return parse(table if isinstance(table, dict) else {"": table})
    except (ValueError, ConfigError) as exc:
        raise ConfigError(f"{name}: what it says of the machine cannot be: {exc}") from exc


def replay(setup: Setup, text: str, name: str = "transcript") -> Divergence | None:
    """Do the experiment of a transcript again, and return the difference; None if there is none.

    Raises:
        UsageError: `text` is not a transcript, or names a frontend that the machine does not have.
    """
    experiment = read(text, name)
    known = Bench(setup).ends
    for step in (*experiment.used, *experiment.before, *experiment.after):
        if isinstance(step, Receive | Modem | Room | Medium | Plug | Frame) and step.frontend not in known:
            raise UsageError(f"{name}: {command(step)}: the machine has no frontend {step.frontend} with a backend")
    return run(setup, experiment)
