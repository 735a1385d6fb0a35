"""Whether a snapshot can be loaded: by the installed types, or by the machine in another snapshot.

The comparison uses the fields as `chkpt.state.declarations` describes them, and the values in the snapshot. A state has
no defaults: a missing field is an error, and only an upgrade turns an older version into a newer one. A load also
demands that the machine has the same drives, disks and RAM: the states declare these fields as FIXED.

Two questions remain. Only the load finds out whether the values of a device contradict each other; those of a saved
state do not. `chkpt verify` finds out whether every byte of the file is as it was.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias, cast

from chkpt.context import Context
from chkpt.device import Rom
from chkpt.errors import ChkptError, CorruptError, StateError
from chkpt.machine.cpu import missing_extra
from chkpt.machine.cpu.contract import CpuState
from chkpt.machine.cpu.power_on import check_state
from chkpt.machine.firmware import firmware_state
from chkpt.machine.parts import PARTS
from chkpt.manager import device_names, installed_device_types, installed_roms
from chkpt.snapshot import Reader
from chkpt.snapshot.frames import SectionEntry
from chkpt.state import declared, from_context, printable, unpack_schemas

Declaration: TypeAlias = Mapping[str, Any]  # JSON, which a snapshot from elsewhere may have filled in as it liked


class Effect(Enum):
    """What a load does with one part of the snapshot or of the machine."""

    FAILS = "fails"  # it is refused
    LOST = "lost"  # something of the snapshot is passed over
    MISSING = "missing"  # the snapshot lacks what it should have; it stays as it is in the machine
    LEFT = "left"  # something of the machine stays as it is
    MAY_FAIL = "may fail"  # not with these values, but with others that the old state could have
    UNKNOWN = "unknown"  # there is nothing to compare with


STRICT = frozenset((Effect.FAILS, Effect.LOST, Effect.MISSING))
"""What a strict load refuses."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a load would not simply take the value from the snapshot."""

    outcome: Effect
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Target:
    """What would load the snapshot: declared states by type, and the machine as a snapshot of it, if it is known.

    `classes` are the installed classes of the states. `known` is what the installed classes declare, even if another
    chkpt will load. `lacking` gives, for each part that cannot be made here, the reason. `roms` are the installed ROMs.
    """

    name: str
    schemas: Mapping[str, Declaration]
    classes: Mapping[str, type]
    machine: Reader | None = None
    known: Mapping[str, Declaration] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)
    roms: Mapping[str, Rom] | None = None


def installed_target() -> Target:
    """Return the installed types as a target. It raises what `installed_device_types` raises."""
    classes = _classes()
    schemas = {name: declared(cls) for name, cls in classes.items()}
    lacking = {"cpu": reason} if (reason := missing_extra()) else {}
    roms = {rom.name: rom for rom in installed_roms()}
    return Target("the installed types", schemas, classes, None, schemas, lacking, roms)


def machine_target(reader: Reader) -> Target:
    """Return the machine that a snapshot was saved from, as a target.

    Raises:
        StateError: the schemas of the snapshot cannot be read.
        ChkptError: see `installed_device_types`.
    """
    known = {name: declared(cls) for name, cls in _classes().items()}
    return Target(reader.name, unpack_schemas(reader.header.get("schemas")), {}, reader, known)


def _classes() -> dict[str, type]:
    return {each.name: each.state for each in installed_device_types() if each.state is not None} | {**PARTS}


def compare(old: Reader, new: Target) -> list[Finding]:
    """Return what a load of `old` by `new` would refuse, lose or leave, and what cannot be known.

    Raises:
        RefusedError: a snapshot, or its schemas, cannot be read.
        StorageError: a file cannot be read.
    """
    schemas = unpack_schemas(old.header.get("schemas"))
    ours = {entry.path: entry for entry in old.sections}
    try:
        names = device_names({"devices": old.section(("devices",))} if ("devices",) in ours else {})
    except CorruptError as exc:
        return [Finding(Effect.FAILS, "devices", str(exc))]
    theirs = None if new.machine is None else {entry.path: entry for entry in new.machine.sections}
    found: list[Finding] = []
    for entry in old.sections:
        path = "/".join(entry.path)
        if entry.path == ("devices",):
            continue
        if entry.path[0] == "devices" and entry.path[1] not in names:
            found.append(Finding(Effect.LOST, path, "is not in the table of names, and is passed over"))
            continue
        other = _elsewhere(entry, new, theirs)
        if other is not None:
            found.append(Finding(other[0], path, other[1]))
        if other is None or other[0] is Effect.UNKNOWN:
            found += _section(old.section(entry.path), new, schemas.get(entry.type), entry.path)
    for name in names:
        if ("devices", name) not in ours:
            text = "is in the table of names, and its context is missing"
            found.append(Finding(Effect.LOST, f"devices/{printable(name)}", text))
    found += _roms(old, new)
    return [*found, *_find_absent(ours, theirs)]


def _elsewhere(
    entry: SectionEntry, new: Target, theirs: Mapping[tuple[str, ...], SectionEntry] | None
) -> tuple[Effect, str] | None:
    """Return the effect on a context if its content does not matter; None if it does."""
    if theirs is None:
        return _nowhere(entry, new)
    there = theirs.get(entry.path)
    if there is None:
        return Effect.LOST, f"the machine of {new.name} has nothing of that name"
    if there.type != entry.type:
        return Effect.FAILS, f"is of type {printable(entry.type)}, and of type {printable(there.type)} there"
    if entry.type in new.schemas:
        return None
    if there.version < entry.version:
        return Effect.FAILS, f"is version {entry.version}, newer than {there.version}"
    return Effect.UNKNOWN, f"{new.name} does not say what a {printable(entry.type)} holds"


def _nowhere(entry: SectionEntry, new: Target) -> tuple[Effect, str] | None:
    """Return why the installed types cannot load a context; None if they can."""
    if entry.path[0] != "devices":
        if entry.path[0] not in PARTS:
            return Effect.LOST, "no machine has such a part"
        if entry.type != entry.path[0]:
            return Effect.FAILS, f"is of type {printable(entry.type)}, not {entry.path[0]}"
        if entry.type in new.lacking:
            return Effect.FAILS, f"cannot be loaded: {new.lacking[entry.type]}"
    if entry.type not in new.schemas:
        return Effect.FAILS, f"there is no type {printable(entry.type)} whose state can be loaded"
    return None


def _find_absent(ours: Iterable[tuple[str, ...]], theirs: Iterable[tuple[str, ...]] | None) -> Iterator[Finding]:
    """Yield what the machine has and the snapshot does not have. Every machine has a clock, lines and RAM."""
    held = set(ours)
    for path in (("clock",), ("lines",), ("memory",)) if theirs is None else theirs:
        if path not in held:
            outcome = Effect.LEFT if path[0] == "devices" else Effect.MISSING
            yield Finding(outcome, "/".join(path), "is not in the snapshot, and stays as it is")


def _section(context: Context, new: Target, old: Declaration | None, at: tuple[str, ...]) -> list[Finding]:
    """Return the findings for a context that the machine can load."""
    path = "/".join(at)
    found: list[Finding] = []
    if new.machine is not None:
        declarations = [new.schemas.get(context.type), old, new.known.get(context.type)]
        found += _compare(context, new.machine.section(at), [each for each in declarations if each], path)
    if at == ("memory",) and "ram" in context.blobs and context.blobs["ram"].size != context.values.get("size"):
        found.append(
            Finding(
                Effect.FAILS, "memory.ram", f"has {context.blobs['ram'].size} bytes, and memory.size says otherwise"
            )
        )
    if context.type in new.schemas:
        found += _walk(context, new, old, path)
        cls = new.classes.get(context.type)
        if cls is not None and not any(each.outcome is Effect.FAILS for each in found):
            found += _try_state(context, cls, path)
    return found


def _roms(old: Reader, new: Target) -> Iterator[Finding]:
    """Yield a finding if the machine's ROM is not installed, or the installed one differs."""
    config = old.header.get("config")
    firmware = config.get("firmware") if isinstance(config, Mapping) else None
    name = firmware.get("rom") if isinstance(firmware, Mapping) else None
    if new.roms is None or not isinstance(name, str):
        return
    rom = new.roms.get(name)
    if rom is None:
        known = ", ".join(new.roms) or "none"
        yield Finding(Effect.FAILS, "firmware", f"there is no ROM {printable(name)}; there are: {known}")
    elif any(entry.path == ("firmware",) and entry.type == "firmware" for entry in old.sections):
        there, values = firmware_state(rom.image), old.section(("firmware",)).values
        if (values.get("size"), values.get("digest")) != (there.size, there.digest):
            yield Finding(
                Effect.FAILS, "firmware.digest", f"is not that of the ROM {printable(name)} here: another one"
            )


def _walk(context: Context, new: Target, old: Declaration | None, path: str) -> list[Finding]:
    declaration = new.schemas[context.type]
    with _foreign_schemas(path):
        return list(_Walk(declaration, old).context(context, declaration, old, path))


@contextmanager
def _foreign_schemas(path: str) -> Iterator[None]:
    """Raise StateError if declarations, which are JSON from elsewhere, are not built as chkpt builds them."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        raise StateError(f"{path}: the schemas of a snapshot are not what chkpt writes") from exc


def _try_state(context: Context, cls: type, path: str) -> Iterator[Finding]:
    """Read the context as its state, and yield the error. It finds what no declaration shows: a failing upgrade."""
    try:
        state: object = from_context(context, cls, path)
        if isinstance(state, CpuState):
            check_state(state)
    except ChkptError as exc:
        yield Finding(Effect.FAILS, path, str(exc))


def _compare(old: Context, new: Context, declarations: Sequence[Declaration], path: str) -> list[Finding]:
    """Return how the machine differs in the fields that are declared as fixed, which a load compares."""
    with _foreign_schemas(path):
        return list(_compare_fixed(old, new, [(each, each.get("contexts", {})) for each in declarations], path))


def _compare_fixed(
    old: Context, new: Context, declarations: Sequence[tuple[Declaration, Declaration]], path: str
) -> Iterator[Finding]:
    for name in dict.fromkeys(name for declaration, _ in declarations for name in declaration.get("fixed", ())):
        if name in old.contexts and name in new.values:
            yield Finding(Effect.FAILS, f"{path}/{name}", "is in the snapshot, and that machine has none")
        elif name in old.values and name in new.contexts:
            yield Finding(Effect.FAILS, f"{path}/{name}", "is not in the snapshot, and that machine has one")
        elif name in old.values and name in new.values and old.values[name] != new.values[name]:
            shown = [_short(each.values[name]) for each in (old, new)]
            yield Finding(Effect.FAILS, f"{path}.{name}", f"is {shown[0]}, and {shown[1]} there: another one")
    for name, child in old.contexts.items():
        if name not in new.contexts:
            continue
        single: list[tuple[Declaration, Declaration]] = []
        several: list[tuple[Declaration, Declaration]] = []
        for declaration, contexts in declarations:
            shape = declaration["fields"].get(name, ("",))
            shape = shape[1] if shape[0] == "or nil" else shape
            if shape[0] in {"context", "contexts"}:
                (single if shape[0] == "context" else several).append((contexts[shape[-1]], contexts))
        where = f"{path}/{printable(name)}"
        yield from _compare_fixed(child, new.contexts[name], single, where)
        for number, item in child.contexts.items():
            if several and number in new.contexts[name].contexts:
                yield from _compare_fixed(
                    item, new.contexts[name].contexts[number], several, f"{where}/{printable(number)}"
                )


def _short(value: object) -> object:
    return (value.hex()[:16] or "none") if isinstance(value, bytes) else value


class _Walk:
    """One state, old and new, field by field. `new` and `old` are whole declarations, with those of their parts."""

    def __init__(self, new: Declaration, old: Declaration | None) -> None:
        self._new: Mapping[str, Declaration] = new.get("contexts", {})
        self._old: Mapping[str, Declaration] = {} if old is None else old.get("contexts", {})

    def context(self, context: Context, new: Declaration, old: Declaration | None, path: str) -> Iterator[Finding]:
        """Yield the findings for a context."""
        version = int(new.get("version", 0))
        if context.version > version:
            yield Finding(Effect.FAILS, path, f"is version {context.version}, newer than {version}")
            return
        if context.version < version:
            steps = set(range(context.version, version)) - set(new.get("upgrades", ()))
            if steps:
                yield Finding(
                    Effect.FAILS, path, f"is version {context.version}, from which no upgrade leads to {version}"
                )
            return  # only the class knows what an upgrade makes of it
        fields: Mapping[str, Sequence[Any]] = new["fields"]
        before: Mapping[str, Sequence[Any]] = {} if old is None else old["fields"]
        for name, shape in fields.items():
            yield from self._field(context, name, shape, before.get(name), path)
        for name in (*context.values, *context.blobs, *context.contexts):
            if name not in fields:
                yield Finding(Effect.LOST, f"{path}.{printable(name)}", "there is no such field, and it is passed over")

    def _field(
        self, context: Context, name: str, new: Sequence[Any], old: Sequence[Any] | None, path: str
    ) -> Iterator[Finding]:
        where = f"{path}.{name}"
        if name in context.values:
            if problem := _unfit(context.values[name], new):
                yield Finding(Effect.FAILS, where, problem)
            elif old is not None and (narrower := _narrower(old, new)):
                yield Finding(Effect.MAY_FAIL, where, narrower)
            return
        inner = new[1] if new[0] == "or nil" else new
        before = None if old is None else old[1] if old[0] == "or nil" else old
        if name in context.blobs:
            if inner[0] != "blob":
                yield Finding(Effect.FAILS, where, "is a blob, and not one there")
        elif name not in context.contexts:
            yield Finding(Effect.FAILS, where, "is missing, and a state has no defaults")
        elif inner[0] == "context":
            known = None if before is None else self._old.get(str(before[-1]))
            yield from self.context(context.contexts[name], self._new[inner[1]], known, f"{path}/{name}")
        elif inner[0] == "contexts":
            children = context.contexts[name].contexts
            known = None if before is None else self._old.get(str(before[-1]))
            if not inner[1] <= len(children) <= inner[2]:
                yield Finding(Effect.FAILS, where, f"has {len(children)} contexts, not {inner[1]} to {inner[2]}")
            for child_name, child in children.items():
                child_path = f"{path}/{name}/{printable(child_name)}"
                yield from self.context(child, self._new[inner[3]], known, child_path)
        else:
            yield Finding(Effect.FAILS, where, f"is a context, and {inner[0]} there")


def _unfit(value: object, shape: Sequence[Any]) -> str:  # noqa: PLR0911  one for each kind
    """Return why a value does not fit a field, as a phrase that follows the field's name; empty if it fits."""
    kind = shape[0]
    if kind == "or nil":
        return "" if value is None else _unfit(value, shape[1])
    kinds: Mapping[str, type] = {"int": int, "time": int, "bool": bool, "bytes": bytes, "str": str}
    if kind in kinds:
        if type(value) is not kinds[kind]:
            return f"is a {type(value).__name__}, not {kind}"
        size = value if isinstance(value, int) else len(cast("bytes | str", value))
        what = "is" if isinstance(value, int) else "has length"
        return (
            f"{what} {size}, not within {shape[1]} to {shape[2]}"
            if shape[1:] and not shape[1] <= size <= shape[2]
            else ""
        )
    if kind == "one of":
        return (
            ""
            if any(type(value) is type(each) and value == each for each in shape[1])
            else f"is {value!r}, none of {shape[1]}"
        )
    if kind == "list" and isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if not shape[1] <= len(value) <= shape[2]:
            return f"has {len(value)} items, not {shape[1]} to {shape[2]}"
        items = (_unfit(item, shape[3][index % len(shape[3])]) for index, item in enumerate(value))
        return next((f"item {index} {problem}" for index, problem in enumerate(items) if problem), "")
    return f"is a value, and {kind} there"


def _narrower(old: Sequence[Any], new: Sequence[Any]) -> str:
    """Return how the new field allows less than the old field; empty if it does not."""
    if old[0] == "or nil" and new[0] != "or nil":
        return "could be nil, and cannot there"
    old, new = (each[1] if each[0] == "or nil" else each for each in (old, new))
    ranged = {"int", "time", "bytes", "str", "list"}
    if old[0] in ranged and new[0] in ranged and (new[1] > old[1] or new[2] < old[2]):
        return f"could be from {old[1]} to {old[2]}, and is from {new[1]} to {new[2]} there"
    if old[0] == new[0] == "one of" and (gone := [each for each in old[1] if each not in new[1]]):
        return f"could be {', '.join(map(str, gone))}, and cannot there"
    return ""
