"""The device manager: a machine's devices by name, what they claim, and their save and load.

The checklist is Palacios' `vmm_dev_mgr.c`; what it got wrong is a test (`tests/chkpt/manager/test_seed_quirks.py`).
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from chkpt.context import Checkpoint, Context, Value
from chkpt.device import (
    BlockBackend,
    CharBackend,
    ConsoleBackend,
    Device,
    DeviceType,
    FrontendKind,
    Host,
    Loads,
    NetBackend,
    OfMachine,
    Saves,
)
from chkpt.errors import (
    ChkptError,
    DeviceError,
    ExistsError,
    NotFoundError,
    SaveError,
    StateError,
    UsageError,
)
from chkpt.manager.entry import DeviceEntry
from chkpt.manager.frontends import Backend, FrontendsByKind
from chkpt.manager.host import DeviceHost, Platform
from chkpt.manager.load import DeviceLoad, LoadPlan
from chkpt.manager.names import CONTEXT, check_device_name, device_names, pack_names
from chkpt.manager.reports import LoadReport, SaveReport, Skip, refuse_strictly, strict_reasons
from chkpt.manager.resources import Claim, Resources
from chkpt.manager.types import DeviceTypes, fill_in
from chkpt.state import from_context, from_table, printable, to_context

log = logging.getLogger("chkpt.manager")

_UNASKED = "not asked for"


class DeviceManager:
    """The devices of one machine.

    Not safe for use by two threads at once: the owner of the machine holds one lock around it.
    """

    def __init__(self, platform: Platform, types: DeviceTypes) -> None:
        self.types = types
        self.frontends = FrontendsByKind()
        self._platform = platform
        self._resources = Resources()
        self._entries: dict[str, DeviceEntry] = {}

    # -- devices ------------------------------------------------------------------------------------------------------

    def create(
        self,
        type_name: str,
        name: str | None = None,
        config: Mapping[str, object] = MappingProxyType({}),
        also: Mapping[str, Collection[str]] = MappingProxyType({}),
        facts: Mapping[OfMachine, object] = MappingProxyType({}),
    ) -> Device:
        """Make a device of a registered type and add it.

        Args:
            type_name: the device type's name.
            name: the device's name in this machine; None for the type's name.
            config: a table of the type's configuration. Fields that it does not have keep their defaults.
            also: keys that the caller has taken out of the table, for the hint at an unknown key; see `from_table`.
            facts: this machine's values for the fields marked with an `OfMachine`, if the table does not have them.

        Raises:
            NotFoundError: no such type.
            ConfigError: the table does not fit the type.
            UsageError, ExistsError, ConflictError, DeviceError: see `add`.
        """
        device_type = self.types.find(type_name)
        name = device_type.name if name is None else name
        table = fill_in(device_type.config, config, facts)
        return self.add(device_type, name, from_table(table, device_type.config, f"device {name}", also))

    def add(self, device_type: DeviceType[Any, Any], name: str, config: object) -> Device:
        """Make a device of any type from its configuration, and add it.

        Raises:
            UsageError: `name` cannot be a device's name.
            ExistsError: the name is taken.
            ChkptError: the device raised it. All its claims are undone.
            DeviceError: the device raised another error. All its claims are undone.
        """
        check_device_name(name)
        if name in self._entries:
            raise ExistsError(f"there is a device {name} already")
        host = DeviceHost(name, self._platform, self._resources, self.frontends)
        with self._platform.frozen_lines():  # at the end the lines report their levels to a new interrupt controller
            try:
                device = _make_device(device_type, host, config)
            except BaseException as exc:
                host.close()
                if isinstance(exc, ChkptError) or not isinstance(exc, Exception):
                    raise
                raise DeviceError(f"device {name} of type {device_type.name} cannot be made: {exc!r}") from exc
        saves, loads = isinstance(device, Saves), isinstance(device, Loads)
        self._entries[name] = DeviceEntry(name, device_type, config, device, host, saves, loads)
        log.debug("%s: added, type %s", name, device_type.name)
        return device

    def find(self, name: str) -> Device:
        """Return the device of this name. Raise NotFoundError, which lists the devices."""
        return self.entry(name).device

    def entry(self, name: str) -> DeviceEntry:
        """Return the device of this name with its type and host. Raise NotFoundError."""
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(self._entries) or "none"
            raise NotFoundError(f"no device {name} in this machine; there are: {known}") from None

    def remove(self, name: str) -> None:
        """Remove a device with its ports, lines, timers and frontends. Its name is free again.

        Backends connected to it are closed.

        Raises:
            NotFoundError: there is no such device.
            DeviceError: a claim could not be undone, or a backend not closed. The device is removed all the same.
        """
        entry = self.entry(name)
        del self._entries[name]
        try:
            entry.host.close()
        except ExceptionGroup as exc:
            raise DeviceError(f"device {name} is removed, but {_join_reasons(exc)}") from exc
        log.debug("%s: removed", name)

    def close(self) -> None:
        """Remove all devices, the last one first, even if some fail. A second call does nothing.

        Raises:
            DeviceError: one or more failed to close; the message names them.
        """
        failed: list[str] = []
        for name in reversed(self._entries):
            try:
                self._entries[name].host.close()
            except ExceptionGroup as exc:
                log.exception("%s: could not be closed", name)
                failed.append(f"{name} ({_join_reasons(exc)})")
        self._entries.clear()
        if failed:
            raise DeviceError(f"devices failed to close: {', '.join(failed)}")

    def reset(self) -> None:
        """Reset every device, in order of creation."""
        for entry in self._entries.values():
            entry.device.reset()

    def claims(self, name: str) -> tuple[Claim, ...]:
        """Return what a device has claimed. Raise NotFoundError if there is no such device."""
        return self._resources.of(self.entry(name).name)

    def __iter__(self) -> Iterator[DeviceEntry]:
        return iter(tuple(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    # -- frontends ----------------------------------------------------------------------------------------------------

    def connect(self, kind: FrontendKind, name: str, backend: Backend) -> None:
        """Connect a backend to the frontend of this kind and name. It is closed when the frontend's device is removed.

        Raises:
            NotFoundError: there is no such frontend; `backend` still belongs to the caller.
            ExistsError: the frontend has a backend; `backend` still belongs to the caller.
        """
        self.frontends[kind].connect(name, backend)

    def disconnect(self, kind: FrontendKind, name: str) -> Any:
        """Disconnect a backend and return it; the caller closes it. Raise NotFoundError."""
        return self.frontends[kind].disconnect(name)

    def connect_block(self, name: str, backend: BlockBackend) -> None:
        """Connect a disk to the frontend `DEVICE.UNIT`; see `connect`."""
        self.connect(FrontendKind.BLOCK, name, backend)

    def connect_net(self, name: str, backend: NetBackend) -> None:
        """Connect a network; see `connect`."""
        self.connect(FrontendKind.NET, name, backend)

    def connect_char(self, name: str, backend: CharBackend) -> None:
        """Connect a character stream, in both directions; see `connect`."""
        self.connect(FrontendKind.CHAR, name, backend)

    def connect_console(self, name: str, backend: ConsoleBackend) -> None:
        """Connect a screen; see `connect`."""
        self.connect(FrontendKind.CONSOLE, name, backend)

    def disconnect_block(self, name: str) -> BlockBackend:
        """Disconnect a disk and return it; see `disconnect`."""
        return self.frontends[FrontendKind.BLOCK].disconnect(name)

    def disconnect_net(self, name: str) -> NetBackend:
        """Disconnect a network and return it; see `disconnect`."""
        return self.frontends[FrontendKind.NET].disconnect(name)

    def disconnect_char(self, name: str) -> CharBackend:
        """Disconnect a character stream and return it; see `disconnect`."""
        return self.frontends[FrontendKind.CHAR].disconnect(name)

    def disconnect_console(self, name: str) -> ConsoleBackend:
        """Disconnect a screen and return it; see `disconnect`."""
        return self.frontends[FrontendKind.CONSOLE].disconnect(name)

    # -- save ---------------------------------------------------------------------------------------------------------

    def save(self, checkpoint: Checkpoint) -> SaveReport:
        """Put every device that can be saved into the context `devices` of `checkpoint`.

        Raises:
            SaveError: a device's `save` raised, or returned something that is not its state. `checkpoint` is unchanged.
        """
        contexts: dict[str, Context] = {}
        skipped: list[Skip] = []
        for entry in self._entries.values():
            if not entry.saves:
                skipped.append(Skip(entry.name, f"device type {entry.type.name} cannot be saved"))
                continue
            try:
                contexts[entry.name] = to_context(_check_state(entry.save(), entry.type), entry.type.name)
            except Exception as exc:
                log.error("%s: save failed: %r", entry.name, exc)  # noqa: TRY400  the traceback is in the cause
                raise SaveError(f"device {entry.name} cannot be saved, so nothing was: {exc!r}") from exc
        values: dict[str, Value] = {"num_devs": len(contexts), "names": pack_names(contexts)}
        checkpoint.contexts[CONTEXT] = Context(values=values, contexts=contexts)
        for skip in skipped:
            log.warning("%s: skipped: %s", skip.name, skip.reason)
        for name in contexts:
            log.info("%s: saved", name)
        return SaveReport(tuple(contexts), tuple(skipped))

    # -- load ---------------------------------------------------------------------------------------------------------

    def load(
        self,
        checkpoint: Checkpoint,
        *,
        only: Collection[str] = (),
        skip: Collection[str] = (),
        rename: Mapping[str, str] | None = None,
        strict: bool = False,
        shift: int = 0,
    ) -> LoadReport:
        """Load the devices of `checkpoint` by name: `plan_load`, then `LoadPlan.apply` and `log_loaded`."""
        plan = self.plan_load(checkpoint, only=only, skip=skip, rename=rename, strict=strict)
        report = plan.apply(shift=shift)
        plan.log_loaded()
        return report

    def plan_load(
        self,
        checkpoint: Checkpoint,
        *,
        only: Collection[str] = (),
        skip: Collection[str] = (),
        rename: Mapping[str, str] | None = None,
        strict: bool = False,
    ) -> LoadPlan:
        """Read and validate what a load would do. Nothing changes.

        Args:
            checkpoint: a whole snapshot.
            only: names of this machine's devices to load; empty for all.
            skip: names of this machine's devices not to load.
            rename: name in the snapshot -> name in this machine.
            strict: refuse the load if it would skip a device that was asked for, or pass over a tag.

        Raises:
            NotFoundError: `only`, `skip` or `rename` names a device that does not exist.
            UsageError: `rename` gives two devices one name.
            RefusedError: the snapshot cannot be loaded: corrupt, newer, of another type, out of range, or strict.
        """
        names = device_names(checkpoint.contexts)
        devices = checkpoint.contexts[CONTEXT]
        targets = self._map_names(names, dict(rename or {}))
        selected = self._select(only, skip, targets)
        unknown: list[str] = []
        found = [self._read(devices, name, to, unknown) for name, to in targets.items() if to in selected]
        loads = [each for each in found if isinstance(each, DeviceLoad)]
        skipped = [each for each in found if isinstance(each, Skip)]
        if not only:
            strays = (name for name in devices.contexts if name not in targets)
            skipped += [Skip(printable(name), "it is not in the name table") for name in strays]
        unasked = [name for name, to in targets.items() if to not in selected and to not in self._entries]
        loaded = {each.entry.name: None for each in loads}
        left = self._list_left(loaded, selected, targets)
        _log_skips(skipped, unasked, left, unknown)
        reasons = strict_reasons(skipped, unknown)
        if strict:
            refuse_strictly(reasons)
        skipped += [Skip(name, _UNASKED) for name in unasked]
        report = LoadReport(tuple(loaded), tuple(skipped), left, tuple(unknown))
        kept = [entry for name, entry in self._entries.items() if name not in loaded]
        return LoadPlan(self._platform, loads, kept, report, reasons)

    def _map_names(self, names: Collection[str], rename: Mapping[str, str]) -> dict[str, str]:
        """Return the name in this machine for each name in the snapshot."""
        for source in rename:
            if source not in names:
                raise NotFoundError(f"no device {source} in the snapshot to rename; there are: {', '.join(names)}")
        for source, target in rename.items():
            if target not in self._entries:
                known = ", ".join(self._entries) or "none"
                raise NotFoundError(f"no device {target} in this machine to load {source} into; there are: {known}")
        targets = {name: rename.get(name, name) for name in names}
        seen: dict[str, str] = {}
        for source, target in targets.items():
            if target in seen:
                raise UsageError(f"{seen[target]} and {source} of the snapshot would both be loaded into {target}")
            seen[target] = source
        return targets

    def _select(self, only: Collection[str], skip: Collection[str], targets: Mapping[str, str]) -> set[str]:
        """Return the names in this machine that the caller asks for."""
        for name in (*only, *skip):
            if name not in self._entries and (name in only or name not in targets.values()):
                known = ", ".join(self._entries) or "none"
                raise NotFoundError(f"no device {name} to load or skip; this machine has: {known}")
        selected = (set(only) if only else {*self._entries, *targets.values()}) - set(skip)
        if only and not selected:
            raise UsageError(f"nothing is left to load: {', '.join(only)} cannot be both loaded and skipped")
        return selected

    def _read(self, devices: Context, source: str, target: str, unknown: list[str]) -> DeviceLoad | Skip:
        """Return what to load into one device, or why it is skipped."""
        entry = self._entries.get(target)
        if entry is None:
            return Skip(source, f"this machine has no device {target}")
        if not entry.loads or entry.type.state is None:
            return Skip(source, f"device type {entry.type.name} cannot be loaded")
        if source not in devices.contexts:
            return Skip(source, "its context is missing")
        path = f"{CONTEXT}/{source}"
        context = devices.contexts[source]
        if context.type != entry.type.name:
            raise StateError(
                f"is of type {context.type!r}, but {target} in this machine is of {entry.type.name}", subject=path
            )
        return DeviceLoad(entry, source, from_context(context, entry.type.state, path, unknown))

    def _list_left(self, loaded: Collection[str], selected: set[str], targets: Mapping[str, str]) -> tuple[Skip, ...]:
        """Return the devices that are not loaded, and why."""
        reasons: list[Skip] = []
        for name in self._entries:
            if name in loaded:
                continue
            if name not in selected:
                reason = _UNASKED
            elif name in targets.values():
                reason = "skipped"
            else:
                reason = "not in the snapshot"
            reasons.append(Skip(name, reason))
        return tuple(reasons)


def _make_device(device_type: DeviceType[Any, Any], host: Host, config: object) -> Device:
    device = device_type.create(host, config)
    if not hasattr(device, "reset"):
        raise DeviceError(f"device type {device_type.name} has made {device!r}, which is not a device: it has no reset")
    if device_type.state is None and isinstance(device, Saves | Loads):
        raise DeviceError(f"device type {device_type.name} can be saved or loaded, but names no state")
    return device


def _check_state(state: object, device_type: DeviceType[Any, Any]) -> object:
    """Return `state` if it is of the type's class, else raise DeviceError."""
    if type(state) is not device_type.state:
        raise DeviceError(
            f"its save returned a {type(state).__name__}, which is not the state of type {device_type.name}"
        )
    return state


def _join_reasons(failed: ExceptionGroup[Exception]) -> str:
    return ", ".join(repr(each) for each in failed.exceptions)


def _log_skips(
    skipped: Collection[Skip], unasked: Collection[str], left: Collection[Skip], unknown: Collection[str]
) -> None:
    for skip in skipped:
        log.warning("%s: skipped: %s", skip.name, skip.reason)
    for name in unasked:
        log.info("%s: skipped: %s", name, _UNASKED)
    for skip in left:
        if skip.reason != "skipped":
            log.info("%s: left as it was: %s", skip.name, skip.reason)
    for path in unknown:
        log.warning("%s: unknown tag, passed over", path)
