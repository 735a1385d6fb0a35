"""`chkpt prove`: look for anything by which a guest could notice that it was restored."""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from chkpt.cli.options import AsJson
from chkpt.cli.output import escape, show, show_json
from chkpt.errors import ConfigError, NotFoundError, StorageError, UsageError
from chkpt.regular_file import TooLongError, read_regular

if TYPE_CHECKING:
    from chkpt.device import DeviceType
    from chkpt.machine import MachineConfig
    from chkpt.prove import Divergence, Proof, Setup

NOTICED = 1
"""The exit status if a guest can notice a restore."""

MAX_TRANSCRIPT: Final = 16 << 20
"""Bytes of the longest transcript: a hundred times that of a thousand steps."""


def prove(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="TYPE|MACHINE.toml|cpu",
            help="A device type from chkpt devices, or MODULE:NAME if it is not installed; a machine; or cpu for "
            "the processor.",
            show_default=False,
        ),
    ] = None,
    *,
    runs: Annotated[
        int, typer.Option("--runs", metavar="N", min=1, help="How many random conversations, or programs, to try.")
    ] = 200,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", min=0, help="Start no further run after S seconds.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Equal seeds make the same conversations.")] = 0,
    transcript: Annotated[
        Path | None,
        typer.Option(
            "--transcript",
            metavar="FILE",
            dir_okay=False,
            help="Write the conversation that shows a finding to FILE.",
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option("--replay", metavar="FILE", dir_okay=False, help="Run the experiment of a transcript again."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look for anything by which a guest could notice that its machine was saved and restored.

    Random conversations drive machines, which are saved at random points. Each machine is compared, step by step, with
    a twin that was loaded from the snapshot: every value read, every edge of an interrupt line with its time, every
    byte sent, every pending timer, every saved byte. A difference is shown by the shortest conversation found.

    For the processor, random programs are run instead: each once to its end, and again from each of several snapshots.
    Both ends must be equal in every register and every byte of memory.

    \b
    Exit status:
      0  no guest could tell
      1  a guest can tell; the conversation that shows it is printed
      2  the request itself is wrong
      3  no such device type, machine or transcript
    """
    if replay is not None:
        _replay(what, replay, as_json=as_json)
        return
    if what is None:
        raise UsageError("name a device type, a machine's TOML or cpu, or a transcript with --replay")
    if what == "cpu":
        _prove_cpu(runs, seconds, seed, transcript, as_json=as_json)
        return
    from chkpt.prove import prove as search
    from chkpt.prove import report

    setups = _find_setups(what)
    with _show_progress(runs, shown=not as_json) as progress:
        proof = search(setups, runs=runs, seconds=seconds, seed=seed, progress=progress)
    if proof.finding is not None and transcript is not None:
        _write(transcript, proof.finding.transcript)
    if as_json:
        show_json(_json(proof))
    else:
        for line in report(proof):
            show(escape(line))
    if proof.finding is not None:
        raise typer.Exit(NOTICED)


def _prove_cpu(runs: int, seconds: float | None, seed: int, transcript: Path | None, *, as_json: bool) -> None:
    if transcript is not None:
        raise UsageError("a proof of the processor has no transcript: the same --seed finds the same program again")
    from chkpt.prove.cpu import json_proof, prove_cpu, report_lines

    with _show_progress(runs, shown=not as_json, unit="cuts") as progress:
        proof = prove_cpu(programs=runs, seconds=seconds, seed=seed, progress=progress)
    if as_json:
        show_json(json_proof(proof))
    else:
        for line in report_lines(proof):
            show(escape(line))
    if proof.finding is not None:
        raise typer.Exit(NOTICED)


def _find_setups(what: str) -> "list[Setup]":
    from chkpt.prove import setups_of

    return setups_of(_find_subject(what))


def _find_subject(what: str) -> "DeviceType[Any, Any] | MachineConfig":
    if what.endswith(".toml") or "/" in what:
        from chkpt.machine.config import read

        return read(Path(what))
    if ":" in what:
        return _import_device_type(what)
    from chkpt.manager import installed_device_types

    return installed_device_types().find(what)


def _import_device_type(what: str) -> "DeviceType[Any, Any]":
    """Return a device type from a module in this directory, or from an installed one."""
    from importlib import import_module

    from chkpt.device import DeviceType

    module, _, name = what.partition(":")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  as `python -m` does
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise NotFoundError(str(exc), where=what) from exc
    except Exception as exc:
        raise ConfigError(f"the module cannot be imported: {exc!r}", where=what) from exc
    if not isinstance(found, DeviceType):
        raise UsageError(f"{what} is a {type(found).__name__}, not a DeviceType")
    return found


def _replay(what: str | None, path: Path, *, as_json: bool) -> None:
    from chkpt.prove import replay
    from chkpt.prove.report import lines_of
    from chkpt.prove.transcript import machine_of

    try:
        text = read_regular(path, MAX_TRANSCRIPT, pipe=True).decode()
    except FileNotFoundError:
        raise NotFoundError("there is no such transcript", where=str(path)) from None
    except TooLongError as exc:
        raise UsageError(f"not a transcript: {exc.strerror}", where=str(path)) from exc
    except OSError as exc:
        raise StorageError(str(exc.strerror), where=str(path)) from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"not a transcript: {exc}", where=str(path)) from exc
    (setup, *_) = _find_setups(what) if what is not None else _make_setups(machine_of(text, str(path)))
    if what is not None:
        setup = dataclasses.replace(setup, config=machine_of(text, str(path)))
    found = replay(setup, text, str(path))
    if as_json:
        show_json({"divergence": None if found is None else _json_divergence(found)})
    elif found is None:
        show("no guest could tell")
    else:
        show(f"a restore shows: {found.what}")
        for line in lines_of(found):
            show(escape(f"  {line}"))
    if found is not None:
        raise typer.Exit(NOTICED)


def _make_setups(config: "MachineConfig") -> "list[Setup]":
    from chkpt.prove import setups_of

    return setups_of(config)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as exc:
        raise StorageError(str(exc.strerror), where=str(path)) from exc


@contextmanager
def _show_progress(runs: int, *, shown: bool, unit: str = "steps") -> Iterator[Callable[[int, int], None]]:
    """Show the progress of the search if stderr is a terminal."""
    if not (shown and sys.stderr.isatty()):
        yield lambda _runs, _steps: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("runs"), BarColumn(), MofNCompleteColumn(), TextColumn(f"{{task.fields[steps]:,}} {unit}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=runs, steps=0)

        def update(done: int, steps: int) -> None:
            bar.update(task, completed=done, steps=steps)

        yield update


# -- JSON -------------------------------------------------------------------------------------------------------------


def _json(proof: "Proof") -> dict[str, object]:
    finding = proof.finding
    return {
        "seed": proof.seed,
        "runs": proof.runs,
        "steps": proof.steps,
        "cuts": proof.cuts,
        "seconds": round(proof.seconds, 3),
        "finding": None
        if finding is None
        else {
            "run": finding.run,
            "steps": len(finding.experiment),
            "steps_found": finding.length,
            "divergence": _json_divergence(finding.divergence),
            "transcript": finding.transcript,
        },
        "reach": [dataclasses.asdict(device) for device in proof.reach],
        "unnoticed": [dataclasses.asdict(each) for each in proof.unnoticed],
    }


def _json_divergence(found: "Divergence") -> dict[str, object]:
    return {**dataclasses.asdict(found), "what": found.what.name.lower()}
