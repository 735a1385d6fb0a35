"""Contexts and checkpoints as plain values, which compare and print well."""

from typing import Any

from chkpt.context import Checkpoint, Context, blob_bytes


def plain(context: Context) -> dict[str, Any]:
    """Return a context as plain values that can be compared."""
    values: dict[str, Any] = {tag: _plain_value(value) for tag, value in context.values.items()}
    values |= {tag: blob_bytes(blob) for tag, blob in context.blobs.items()}
    return values | {f"{name}/": plain(child) for name, child in context.contexts.items()}


def _plain_value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def plain_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return all contexts of a checkpoint as plain values."""
    return {name: plain(context) for name, context in checkpoint.contexts.items()}
