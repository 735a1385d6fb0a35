"""The functions that turn a state into its context and back, made for one dataclass (docs/decisions/0008).

Each is a few lines of Python source, made from the dataclass's layout and executed once. For

    class Chip:
        VERSION = 1
        irr: U8
        mode: Mode                  # an enum
        timer: TimerState | None    # another dataclass

the source is

    def read(context):
        values, blobs, contexts = context.values, context.blobs, context.contexts
        if context.version != 1 or len(values) + len(blobs) + len(contexts) != 3:
            raise StateError
        irr_ = values['irr']
        mode_ = check_mode(values['mode'])
        timer_ = read_timer(contexts['timer']) if 'timer' in contexts else none(values['timer'])
        if not (type(irr_) is int and 0 <= irr_ <= 255):
            raise StateError
        state = new(Draft)          # see `draft_of`
        state.irr = irr_
        state.mode = mode_
        state.timer = timer_
        state.__class__ = State
        return state

    def write(state, type_name=''):
        values, blobs, contexts = {'irr': state.irr, 'mode': encode_mode(state.mode)}, {}, {}
        timer_ = state.timer
        if timer_ is None:
            values['timer'] = None
        else:
            contexts['timer'] = write_timer(timer_)
        return Context(type_name, 1, values, blobs, contexts)

The name of a field's local variable ends in an underscore, so that no field's name equals another local.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, cast

from chkpt.context import Context, Value
from chkpt.errors import StateError
from chkpt.state.kinds import Kind
from chkpt.state.layout import Layout, layout_of


@cache
def _draft_of(cls: type) -> type | None:
    params, fields = cast("Any", cls).__dataclass_params__, dataclasses.fields(cls)
    names = tuple(field.name for field in fields)
    plain = all(field.init and not field.kw_only and field.default_factory is dataclasses.MISSING for field in fields)
    if not plain or not params.frozen or not params.init or hasattr(cls, "__post_init__") or "__new__" in vars(cls):
        return None
    if cls.__bases__ != (object,) or vars(cls).get("__slots__") != names:
        return None
    return type(cls.__name__, (), {"__slots__": names})


def draft_of(cls: type) -> type | None:
    """Return the draft of a dataclass: a class with the same slots, whose instances may become instances of `cls`.

    A frozen dataclass assigns each of its fields through a call of `object.__setattr__`. While a state is read, the
    instance is of the draft, which is not frozen, so plain assignments are enough.

    Return None if there is more to making an instance than to assign the fields, or the slots are not just those.
    """
    return _draft_of(cls)


@dataclasses.dataclass(frozen=True, slots=True)
class Functions:
    """The two functions made for one dataclass.

    `read` returns the state in a context of the present version that has every field, nothing else, and only allowed
    values. For any other context it raises KeyError or StateError without a reason, and the caller looks closer.
    `write` returns the context of a state, with the name of a device's type.
    """

    read: Callable[[Context], Any]
    write: Callable[..., Context]


def _compile(cls: type, made: dict[type, dict[str, Any]]) -> dict[str, Any]:
    """Return the globals of a dataclass's two functions. Put them, and those of its parts, into `made`."""
    layout = layout_of(cls)
    draft = draft_of(cls)
    source = "\n".join([*_reader(layout, drafted=draft is not None), *_writer(layout)])
    functions = made[cls] = {
        "Context": Context, "StateError": StateError, "State": cls, "Draft": draft, "new": object.__new__,
        "none": _none, "parts": _parts, "numbered": _number_contexts,
    }  # fmt: skip
    exec(compile(source, f"<{cls.__qualname__}>", "exec"), functions)  # noqa: S102  written here, of names and integers
    for name, kind in layout.kinds.items():
        functions |= {f"check_{name}": kind.check, f"encode_{name}": kind.encode}
        if kind.nested is not None:
            inner = made.get(kind.nested) or _compile(kind.nested, made)
            functions |= {f"read_{name}": inner["read"], f"write_{name}": inner["write"]}
    return functions


@cache
def _functions(cls: type) -> Functions:
    made = _compile(cls, {})
    return Functions(made["read"], made["write"])


functions_of = cast("Callable[[type], Functions]", _functions)  # the cache's own type would ask for a Hashable


def _none(value: Value) -> None:
    """Accept only the nil that stands for an absent part."""
    if value is not None:
        raise StateError


def _parts(context: Context, least: int, greatest: int) -> list[Context]:
    """Return the contexts of a tuple's items in their order."""
    contexts = context.contexts
    if context.values or context.blobs or not least <= len(contexts) <= greatest:
        raise StateError
    return [contexts[str(at)] for at in range(len(contexts))]


def _number_contexts(contexts: Iterable[Context]) -> Context:
    """Return the context that holds those of a tuple's items."""
    return Context("", 0, {}, {}, {str(at): context for at, context in enumerate(contexts)})


# -- the source --------------------------------------------------------------------------------------------------------


def _reader(layout: Layout, *, drafted: bool) -> Iterator[str]:
    yield "def read(context):"
    yield " values, blobs, contexts = context.values, context.blobs, context.contexts"
    count = len(layout.kinds)
    yield f" if context.version != {layout.version!r} or len(values) + len(blobs) + len(contexts) != {count}:"
    yield "  raise StateError"
    tests: list[str] = []
    for name, kind in layout.kinds.items():
        local = f"{name}_"
        if kind.test is not None:
            yield f" {local} = values[{name!r}]"
            tests.append(kind.test.format(local))
        elif kind.is_branch:
            yield f" {local} = {_branch(name, kind)}"
        else:
            yield f" {local} = check_{name}(values[{name!r}])"
    if tests:
        yield f" if not ({' and '.join(tests)}):"
        yield "  raise StateError"
    if not drafted:
        yield f" return State({', '.join(f'{name}_' for name in layout.kinds)})"
        return
    yield " state = new(Draft)"
    for name in layout.kinds:
        yield f" state.{name} = {name}_"
    yield " state.__class__ = State"
    yield " return state"


def _branch(name: str, kind: Kind) -> str:
    """Return the expression for a field that is a context or a blob."""
    where = "blobs" if kind.blob else "contexts"
    found = f"{where}[{name!r}]"
    if kind.items is not None:
        found = f"tuple(map(read_{name}, parts({found}, {kind.items[0]!r}, {kind.items[1]!r})))"
    elif kind.nested is not None:
        found = f"read_{name}({found})"
    return f"{found} if {name!r} in {where} else none(values[{name!r}])" if kind.optional else found


def _writer(layout: Layout) -> Iterator[str]:
    tags = [
        f"{name!r}: state.{name}" if kind.encode is None else f"{name!r}: encode_{name}(state.{name})"
        for name, kind in layout.kinds.items()
        if not kind.is_branch
    ]
    yield "def write(state, type_name=''):"
    yield f" values, blobs, contexts = {{{', '.join(tags)}}}, {{}}, {{}}"
    for name, kind in layout.kinds.items():
        if not kind.is_branch:
            continue
        local, indent = f"{name}_", " "
        yield f" {local} = state.{name}"
        if kind.optional:
            yield f" if {local} is None:"
            yield f"  values[{name!r}] = None"
            yield " else:"
            indent = "  "
        if kind.blob:
            yield f"{indent}blobs[{name!r}] = {local}"
        elif kind.items is None:
            yield f"{indent}contexts[{name!r}] = write_{name}({local})"
        else:
            yield f"{indent}contexts[{name!r}] = numbered(map(write_{name}, {local}))"
    yield f" return Context(type_name, {layout.version!r}, values, blobs, contexts)"
