"""Which disks a snapshot is of, as far as that can be told without the devices that they are in."""

from collections.abc import Collection, Iterator
from contextlib import suppress

from chkpt.context import Checkpoint, Context
from chkpt.errors import RefusedError
from chkpt.manager import CONTEXT


def identities(checkpoint: Checkpoint) -> Collection[bytes]:
    """Return an identity of each kind that the disks in a snapshot have, so that each can be computed before a load.

    What cannot be read is left to the load, which refuses it.
    """
    found: dict[tuple[int, bytes], bytes] = {}
    with suppress(RefusedError):
        devices = checkpoint.contexts.get(CONTEXT, Context())
        for name in devices.contexts:
            with suppress(RefusedError):
                found |= {(len(each), each[:1]): each for each in _in(devices.contexts[name])}
    return found.values()


def _in(context: Context) -> Iterator[bytes]:
    """Yield the identities in a context and below, by the tags that `chkpt.device.DiskState` gives them."""
    for tag in ("identity", "digest"):
        value = context.values.get(tag)
        if isinstance(value, bytes) and "blocks" in context.blobs:
            yield value
    for child in context.contexts.values():
        yield from _in(child)
