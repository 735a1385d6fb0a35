"""Whether a snapshot can be loaded: held against the installed types, or against the machine in another snapshot.

Fields are compared as `chkpt.state.declared` describes them, and with the values that the snapshot holds. A state has
no defaults: what it lacks of a version's fields is an error, and only an upgrade brings an older version up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias, cast

from chkpt.context import Context
from chkpt.errors import ChkptError, StateError
from chkpt.machine.parts import PARTS
from chkpt.manager import installed_device_types
from chkpt.snapshot import Reader
from chkpt.state import declared, from_context, printable, unpack_schemas

Declaration: TypeAlias = Mapping[str, Any]  # JSON, which a snapshot from elsewhere may have filled in as it liked


class Outcome(Enum):
    """What would come of a load."""

    FAILS = "fails"  # it is refused
    LOST = "lost"  # something of the snapshot is passed over
    LEFT = "left"  # something of the machine stays as it is
    MAY_FAIL = "may fail"  # not with these values, but with others that the old state could have
    UNKNOWN = "unknown"  # there is nothing to compare with


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a load would do otherwise than take what is there."""

    outcome: Outcome
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Target:
    """What would load: states by type, and the machine, where it is known, as the contexts of one saved from it."""

    name: str
    schemas: Mapping[str, Declaration]
    classes: Mapping[str, type]
    machine: Reader | None = None


def installed() -> Target:
    """Return the types that are installed. Raises as `installed_device_types` does."""
    types = list(installed_device_types())
    classes = {each.name: each.state for each in types if each.state is not None} | {**PARTS}
    return Target("the installed types", {name: declared(cls) for name, cls in classes.items()}, classes)


def machine_of(reader: Reader) -> Target:
    """Return the machine that a snapshot was saved from. Raise StateError where its schemas cannot be read."""
    return Target(reader.name, unpack_schemas(reader.header.get("schemas")), {}, reader)


def compare(old: Reader, new: Target) -> list[Finding]:
    """Return what a load of `old` by `new` would refuse, lose, leave, or cannot be told of.

    Raises:
        RefusedError: a snapshot, or its schemas, cannot be read.
        StorageError: a file cannot be read.
    """
    schemas = unpack_schemas(old.header.get("schemas"))
    found: list[Finding] = []
    theirs = None if new.machine is None else {entry.path: entry for entry in new.machine.sections}
    for entry in old.sections:
        path = "/".join(entry.path)
        if entry.path == ("devices",):
            continue
        if theirs is not None and entry.path not in theirs:
            found.append(Finding(Outcome.LOST, path, f"the machine of {new.name} has nothing of that name"))
            continue
        if theirs is not None and theirs[entry.path].type != entry.type:
            kind = theirs[entry.path].type
            found.append(Finding(Outcome.FAILS, path, f"is of type {entry.type}, and of type {kind} there"))
            continue
        if new.machine is not None:
            found += _identities(old.section(entry.path), new.machine.section(entry.path), path)
        if entry.type not in new.schemas:
            outcome, text = Outcome.FAILS, f"there is no type {entry.type} whose state can be loaded"
            if entry.path[0] != "devices":
                outcome, text = Outcome.LOST, "no machine has such a part"
            if theirs is not None:
                outcome, text = Outcome.UNKNOWN, f"{new.name} does not say what a {entry.type} holds"
                if theirs[entry.path].version < entry.version:
                    outcome, text = (
                        Outcome.FAILS,
                        f"is version {entry.version}, newer than {theirs[entry.path].version}",
                    )
            found.append(Finding(outcome, path, text))
            continue
        context = old.section(entry.path)
        here = _walked(context, new, schemas.get(entry.type), path)
        cls = new.classes.get(entry.type)
        if cls is not None and not any(each.outcome is Outcome.FAILS for each in here):
            here += _tried(context, cls, path)
        found += here
    if theirs is not None:
        ours = {entry.path for entry in old.sections}
        missing = (path for path in theirs if path not in ours)
        found += [
            Finding(Outcome.LEFT, "/".join(path), "is not in the snapshot, and stays as it is") for path in missing
        ]
    return found


def _walked(context: Context, new: Target, old: Declaration | None, path: str) -> list[Finding]:
    declaration = new.schemas[context.type]
    try:
        return list(_Walk(declaration, old).context(context, declaration, old, path))
    except (LookupError, TypeError, ValueError, AttributeError) as exc:  # JSON from elsewhere
        raise StateError(f"{path}: the schemas of {new.name}, or of the snapshot, are not what chkpt writes") from exc


def _tried(context: Context, cls: type, path: str) -> Iterator[Finding]:
    """Yield what the state itself says of the context: what no declaration tells, such as an upgrade that fails."""
    try:
        from_context(context, cls, path)
    except ChkptError as exc:
        yield Finding(Outcome.FAILS, path, str(exc))


def _identities(old: Context, new: Context, path: str) -> Iterator[Finding]:
    """Yield where RAM, a BIOS or a disk is another one: what a load compares and a declaration does not tell."""
    for tag in ("size", "digest"):
        a, b = old.values.get(tag), new.values.get(tag)
        if (path in {"memory", "firmware"} or "blocks" in old.blobs) and a is not None and b is not None and a != b:
            shown = [each.hex()[:16] or "none" if isinstance(each, bytes) else each for each in (a, b)]
            yield Finding(Outcome.FAILS, f"{path}.{tag}", f"is {shown[0]}, and {shown[1]} there: another one")
    for name, child in old.contexts.items():
        if name in new.contexts:
            yield from _identities(child, new.contexts[name], f"{path}/{printable(name)}")


class _Walk:
    """One state, old and new, field by field. `new` and `old` are whole declarations, with those of their parts."""

    def __init__(self, new: Declaration, old: Declaration | None) -> None:
        self._new: Mapping[str, Declaration] = new.get("contexts", {})
        self._old: Mapping[str, Declaration] = {} if old is None else old.get("contexts", {})

    def context(self, context: Context, new: Declaration, old: Declaration | None, path: str) -> Iterator[Finding]:
        """Yield what becomes of a context."""
        version = int(new.get("version", 0))
        if context.version > version:
            yield Finding(Outcome.FAILS, path, f"is version {context.version}, newer than {version}")
            return
        if context.version < version:
            steps = set(range(context.version, version)) - set(new.get("upgrades", ()))
            if steps:
                yield Finding(
                    Outcome.FAILS, path, f"is version {context.version}, from which no upgrade leads to {version}"
                )
            return  # what an upgrade makes of it, only the class can tell
        fields: Mapping[str, Sequence[Any]] = new["fields"]
        before: Mapping[str, Sequence[Any]] = {} if old is None else old["fields"]
        for name, shape in fields.items():
            yield from self._field(context, name, shape, before.get(name), path)
        for name in (*context.values, *context.blobs, *context.contexts):
            if name not in fields:
                yield Finding(
                    Outcome.LOST, f"{path}.{printable(name)}", "there is no such field, and it is passed over"
                )

    def _field(
        self, context: Context, name: str, new: Sequence[Any], old: Sequence[Any] | None, path: str
    ) -> Iterator[Finding]:
        where = f"{path}.{name}"
        if name in context.values:
            if problem := _unfit(context.values[name], new):
                yield Finding(Outcome.FAILS, where, problem)
            elif old is not None and (narrower := _narrower(old, new)):
                yield Finding(Outcome.MAY_FAIL, where, narrower)
            return
        inner = new[1] if new[0] == "or nil" else new
        before = None if old is None else old[1] if old[0] == "or nil" else old
        if name in context.blobs:
            if inner[0] != "blob":
                yield Finding(Outcome.FAILS, where, "is a blob, and not one there")
        elif name not in context.contexts:
            yield Finding(Outcome.FAILS, where, "is missing, and a state has no defaults")
        elif inner[0] == "context":
            known = None if before is None else self._old.get(str(before[-1]))
            yield from self.context(context.contexts[name], self._new[inner[1]], known, f"{path}/{name}")
        elif inner[0] == "contexts":
            children = context.contexts[name].contexts
            known = None if before is None else self._old.get(str(before[-1]))
            if not inner[1] <= len(children) <= inner[2]:
                yield Finding(Outcome.FAILS, where, f"has {len(children)} contexts, not {inner[1]} to {inner[2]}")
            for child_name, child in children.items():
                child_path = f"{path}/{name}/{printable(child_name)}"
                yield from self.context(child, self._new[inner[3]], known, child_path)
        else:
            yield Finding(Outcome.FAILS, where, f"is a context, and {inner[0]} there")


def _unfit(value: object, shape: Sequence[Any]) -> str:  # noqa: PLR0911  one for each kind
    """Return why a value does not fit a field, as a phrase after its name; empty where it does."""
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
    """Return how the new field takes less than the old one could hold; empty where it does not."""
    if old[0] == "or nil" and new[0] != "or nil":
        return "could be nil, and cannot there"
    old, new = (each[1] if each[0] == "or nil" else each for each in (old, new))
    ranged = {"int", "time", "bytes", "str", "list"}
    if old[0] in ranged and new[0] in ranged and (new[1] > old[1] or new[2] < old[2]):
        return f"could be from {old[1]} to {old[2]}, and is from {new[1]} to {new[2]} there"
    if old[0] == new[0] == "one of" and (gone := [each for each in old[1] if each not in new[1]]):
        return f"could be {', '.join(map(str, gone))}, and cannot there"
    return ""
