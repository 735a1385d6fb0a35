"""The targets: what is done with an input. Whatever it is, nothing but chkpt's own errors comes of it."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cache, partial
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Final

import typer

from chkpt.cli.commands.diff import diff
from chkpt.cli.commands.inspect import inspect
from chkpt.cli.commands.list_ import list_
from chkpt.cli.commands.verify import verify
from chkpt.cli.json_text import json_text
from chkpt.context import Checkpoint
from chkpt.errors import ChkptError
from chkpt.machine import Machine
from chkpt.machine import config as machine_config
from chkpt.manager import installed_device_types
from chkpt.snapshot import Reader, dumps
from chkpt.snapshot.codec import FRAME_MAGIC, decode_value, frame_content
from chkpt.snapshot.describe import Found, find, json_found, overview, raw
from chkpt.snapshot.diff import compare
from tests.lab.fuzz.draws import ByteDraws
from tests.lab.fuzz.loads import load_any, load_cpu, load_parts, setups
from tests.lab.fuzz.snapshots import built
from tests.lab.fuzz.trees import pack, unpack

STEPS: Final = 60
"""Steps that a machine must stand after a load."""

PIECES: Final = 64
"""A file whose blobs have more pieces than this is not copied: that takes as long as the file says it is."""

PARTS: Final = 100
"""Parts of one blob that are looked at."""


# -- the reader -------------------------------------------------------------------------------------------------------


def codec(data: bytes) -> None:
    """Read an input as a frame's content, and as a frame."""
    with suppress(ChkptError):
        decode_value(data)
    with suppress(ChkptError):
        frame_content(FRAME_MAGIC + data)


def snapshot(data: bytes) -> None:
    """Read an input as a snapshot, by every way of the library."""
    try:
        reader = Reader(built(data))
    except ChkptError:
        return
    good = False
    with suppress(ChkptError):
        reader.verify()
        good = True
    _drain_text(overview(reader))
    for path in _paths(reader):
        with suppress(ChkptError):
            found = find(reader, path)
            _drain_text(json_found(found))
            _drain(found)
    checkpoint, other = reader.checkpoint(), Reader(built(data)).checkpoint()
    few = sum(blob.held for blob in reader.blobs) <= PIECES
    for old, new in ((checkpoint, other), (checkpoint, Checkpoint()), (Checkpoint(), checkpoint)):
        with suppress(ChkptError):
            if few and compare(old, new) and old is checkpoint and new is other:
                raise AssertionError("a snapshot differs from itself")
    if good and few:
        again = Reader(dumps(checkpoint))
        again.verify()
        if compare(again.checkpoint(), checkpoint):
            raise AssertionError("a snapshot differs from its copy")


def _paths(reader: Reader) -> Iterator[str]:
    yield "/"
    for entry in islice(reader.sections, 20):
        path = "/".join(entry.path)
        yield path
        yield path + ".x"
        with suppress(ChkptError):
            for child in islice(reader.section(entry.path).contexts, 3):
                yield f"{path}/{child}"
    for blob in islice(reader.blobs, 20):
        yield f"{'/'.join(blob.path)}.{blob.tag}"


def _drain(found: Found) -> None:
    for _ in islice(raw(found), PARTS):
        pass


def _drain_text(value: object) -> None:
    for _ in json_text(value):
        pass


def commands(data: bytes) -> None:
    """Give an input to the commands that read a snapshot."""
    with _in_store(built(data)) as (store, path):
        for call in (
            partial(inspect, path, store=store),
            partial(inspect, path, "/", store=store),
            partial(inspect, path, "/", store=store, as_json=True),
            partial(inspect, path, store=store, as_json=True, verify=True),
            partial(verify, None, store=store),
            partial(list_, store=store),
            partial(diff, path, path, store=store),
        ):
            with suppress(ChkptError, typer.Exit), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                call()


@contextmanager
def _in_store(file: bytes) -> Iterator[tuple[Path, str]]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:  # noqa: PTH112
        path = Path(directory) / "input.zst"
        path.write_bytes(file)
        yield Path(directory), str(path)


_HEADER: Final = {"chkpt": 1, "generator": "", "created": ""}

# -- what a machine is made of, and loaded with -----------------------------------------------------------------------


def configuration(data: bytes) -> None:
    """Take an input as the configuration in a snapshot's header, and make the machine, as `chkpt run --load` does."""
    try:
        header = Reader(built(pack({"header": {**_HEADER, "config": unpack(data)}}))).header
    except (ChkptError, ValueError):
        return
    table = header["config"]
    if not isinstance(table, Mapping):
        return
    try:
        config, _ = machine_config.without_host(machine_config.parse(table))
        Machine(config).close()
    except ChkptError:
        return


def device(name: str, data: bytes) -> None:
    """Load a device from a context near to one of its own, and use it."""
    draws = ByteDraws(data)
    choices = _setups(name)
    load_any(choices[draws.integer(0, len(choices) - 1)], draws, STEPS)


_setups = cache(setups)


def parts(data: bytes) -> None:
    """Load a machine with clock, lines, memory and name table near to its own."""
    load_parts(ByteDraws(data))


def cpu(data: bytes) -> None:
    """Load a processor near to one after power-on, and let it run."""
    load_cpu(ByteDraws(data))


Target = Callable[[bytes], None]


def targets() -> dict[str, Target]:
    """Return the targets by name."""
    found: dict[str, Target] = {
        "codec": codec,
        "snapshot": snapshot,
        "commands": commands,
        "configuration": configuration,
        "machine-parts": parts,
        "machine-cpu": cpu,
    }
    return found | {f"device-{each.name}": partial(device, each.name) for each in installed_device_types()}


TREES: Final = frozenset({"snapshot", "commands", "configuration"})
"""The targets whose inputs are msgpack, and are changed as such."""
