"""The identities of the disks in a snapshot, found without their devices."""

from collections.abc import Collection, Iterator
from contextlib import suppress

from chkpt.context import Checkpoint, Context
from chkpt.errors import RefusedError
from chkpt.manager import CONTEXT


def identities(checkpoint: Checkpoint) -> Collection[bytes]:
    """Return one identity of each kind in a snapshot, so that each kind can be computed before a load.

    This passes over contexts that cannot be read; the load refuses them.
    """
    found: dict[tuple[int, bytes], bytes] = {}
    with suppress(RefusedError):
        devices = checkpoint.contexts.get(CONTEXT, Context())
        for name in devices.contexts:
            with suppress(RefusedError):
                found |= {(len(each), each[:1]): each for each in _find_in(devices.contexts[name])}
    return found.values()


def _find_in(context: Context) -> Iterator[bytes]:
    """Yield the identities in a context and below, found by the tags that `chkpt.device.DiskState` gives them."""
    for tag in ("identity", "digest"):
        value = context.values.get(tag)
        if isinstance(value, bytes) and "blocks" in context.blobs:
            yield value
    for child in context.contexts.values():
        yield from _find_in(child)
