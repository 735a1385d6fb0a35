"""Checkpoint and restore for emulated machines: save running devices by name, load them elsewhere, look inside.

    machine = chkpt.Machine()
    machine.ports.outb(0x3FB, 0x83)
    checkpoint = chkpt.Checkpoint()
    machine.save(checkpoint)
    snapshot = chkpt.dumps(checkpoint)

Names are imported when first used, so that a command that needs few of them starts fast. This module itself imports
nothing: `chkpt.__main__` comes after it, and takes Ctrl-C from then on.
"""

TYPE_CHECKING = False  # that of `typing` takes milliseconds to import; type checkers take this name for true

if TYPE_CHECKING:
    from chkpt.context import Blob, Checkpoint, Context, SparseBlob, blob_bytes
    from chkpt.errors import (
        ChkptError,
        ConfigError,
        ConflictError,
        CorruptError,
        DeviceError,
        ExistsError,
        HalfLoadedError,
        KeyFileError,
        LimitError,
        LoadError,
        NoMachineError,
        NotFoundError,
        RefusedError,
        SaveError,
        SealedError,
        SignatureError,
        StateError,
        StorageError,
        StrictError,
        UsageError,
        VersionError,
    )
    from chkpt.machine import Machine, MachineConfig
    from chkpt.manager import DeviceManager, DeviceTypes, LoadReport, SaveReport, Skip
    from chkpt.snapshot import Reader, dump, dumps, load, loads
    from chkpt.store import LocalStore, Store
    from chkpt.version import __version__ as __version__

_HOMES = {
    "chkpt.context": ("Blob", "Checkpoint", "Context", "SparseBlob", "blob_bytes"),
    "chkpt.errors": (
        "ChkptError",
        "ConfigError",
        "ConflictError",
        "CorruptError",
        "DeviceError",
        "ExistsError",
        "HalfLoadedError",
        "KeyFileError",
        "LimitError",
        "LoadError",
        "NoMachineError",
        "NotFoundError",
        "RefusedError",
        "SaveError",
        "SealedError",
        "SignatureError",
        "StateError",
        "StorageError",
        "StrictError",
        "UsageError",
        "VersionError",
    ),
    "chkpt.machine": ("Machine", "MachineConfig"),
    "chkpt.manager": ("DeviceManager", "DeviceTypes", "LoadReport", "SaveReport", "Skip"),
    "chkpt.snapshot": ("Reader", "dump", "dumps", "load", "loads"),
    "chkpt.store": ("LocalStore", "Store"),
    "chkpt.version": ("__version__",),
}

__all__ = [
    "Blob",
    "Checkpoint",
    "ChkptError",
    "ConfigError",
    "ConflictError",
    "Context",
    "CorruptError",
    "DeviceError",
    "DeviceManager",
    "DeviceTypes",
    "ExistsError",
    "HalfLoadedError",
    "KeyFileError",
    "LimitError",
    "LoadError",
    "LoadReport",
    "LocalStore",
    "Machine",
    "MachineConfig",
    "NoMachineError",
    "NotFoundError",
    "Reader",
    "RefusedError",
    "SaveError",
    "SaveReport",
    "SealedError",
    "SignatureError",
    "Skip",
    "SparseBlob",
    "StateError",
    "StorageError",
    "Store",
    "StrictError",
    "UsageError",
    "VersionError",
    "blob_bytes",
    "dump",
    "dumps",
    "load",
    "loads",
]


def __getattr__(name: str) -> object:
    from importlib import import_module  # noqa: PLC0415  see above

    for module, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
