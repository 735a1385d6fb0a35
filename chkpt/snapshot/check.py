"""Check names, tags, types, versions, values and blobs. The writer, the reader and the index decoder all call this.

So the reader accepts all that the writer accepts. `docs/FORMAT.md` states the rules.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from chkpt.context import MAX_KEY, MAX_PIECE_SIZE, Context, Value, name_problem
from chkpt.errors import LimitError, RefusedError
from chkpt.snapshot.codec import MAX_DEPTH, check_map

MAX_VERSION: Final = 0xFFFF_FFFF
"""The greatest version of a context."""

MAX_BLOB_SIZE: Final = (1 << 63) - 1
"""The greatest length of a blob."""


def check_name(name: object) -> None:
    """Raise ValueError if a context cannot have the name `name`; see `chkpt.context.name_problem`."""
    problem = name_problem(name)
    if problem is not None:
        raise ValueError(f"a context cannot be named {_shorten(name)}: the name {problem}")


def _shorten(item: object) -> str:
    """Return `item` for a message, shortened: a hostile file must not make a message long."""
    text = ascii(item)
    return text if len(text) <= MAX_KEY else f"{text[:MAX_KEY]}..."


def check_tag(tag: object) -> None:
    """Raise if `tag` cannot be a tag. Any text that is not too long can, also the empty text.

    Raises:
        TypeError: it is not text.
        ValueError: it cannot be written in UTF-8.
        LimitError: it is longer than `MAX_KEY`.
    """
    if not isinstance(tag, str):
        raise TypeError(f"the tag {_shorten(tag)} is not text")
    _check_text(tag, "a tag")


def check_kind(kind: object, version: object) -> None:
    """Raise if no context can have this type and version.

    Raises:
        ValueError: one is of the wrong kind or out of range, or the type cannot be written in UTF-8.
        LimitError: the type is longer than `MAX_KEY`.
    """
    if type(kind) is str:
        _check_text(kind, "a type")  # first, so that the message below does not repeat a long type
    if type(kind) is not str or type(version) is not int or not 0 <= version <= MAX_VERSION:
        raise ValueError(f"a context cannot have the type {_shorten(kind)} and the version {version!r}")


def _check_text(text: str, what: str) -> None:
    if len(text) > MAX_KEY:
        raise LimitError(f"{what} of {len(text)} characters; the limit is {MAX_KEY}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("text with half a surrogate pair has no UTF-8") from None


def check_blob(size: object, piece_size: object) -> None:
    """Raise ValueError if no blob can be `size` bytes long in pieces of `piece_size`."""
    if not _in_range(size, 0, MAX_BLOB_SIZE) or not _in_range(piece_size, 1, MAX_PIECE_SIZE):
        raise ValueError(f"{size} bytes in pieces of {piece_size}")


def _in_range(number: object, least: int, greatest: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and least <= number <= greatest


def check_context(
    context: Context, path: tuple[str, ...], depth: int, names: Collection[object], refusal: type[RefusedError]
) -> None:
    """Raise if `context` cannot be in a file. Of the contexts below it, only the names are checked.

    Args:
        context: its type, version, values, and the tags of its blobs are checked.
        path: the context's path, for the message.
        depth: how many maps and arrays of its section are around its items, its own map included.
        names: the names of the contexts below it.
        refusal: the class of the error: StateError if the caller writes the context, CorruptError if it reads it.

    Raises:
        RefusedError: of the class `refusal`, or LimitError if it is too long or too deep.
    """
    try:
        check_kind(context.type, context.version)
    except (ValueError, LimitError) as exc:
        raise _add_place(exc, "/".join(path), refusal) from exc
    if context.values:
        _check_values(context.values, path, depth + 1, refusal)
    for tag in context.blobs:
        try:
            check_tag(tag)
        except (TypeError, ValueError, LimitError) as exc:
            raise _add_place(exc, tag_place(path, tag), refusal) from exc
        if tag in context.values:
            raise refusal(f"the tag {tag!r} has a value and a blob", where="/".join(path))
    if names and depth + 2 > MAX_DEPTH:
        raise LimitError(f"contexts nest deeper than {MAX_DEPTH} maps", where="/".join(path))
    for name in names:
        try:
            check_name(name)
        except ValueError as exc:
            raise _add_place(exc, "/".join(path), refusal) from exc


def _check_values(values: Mapping[str, Value], path: tuple[str, ...], depth: int, refusal: type[RefusedError]) -> None:
    """Check all values at once. If one is bad, check them one by one, to name its tag."""
    try:
        check_map(values, depth)
    except (TypeError, LimitError) as failure:
        for tag, value in values.items():
            try:
                check_tag(tag)
                check_map({tag: value}, depth)
            except (TypeError, ValueError, LimitError) as exc:
                raise _add_place(exc, tag_place(path, tag), refusal) from exc
        raise _add_place(failure, "/".join(path), refusal) from failure


def _add_place(exc: Exception, where: str, refusal: type[RefusedError]) -> RefusedError:
    return (LimitError if isinstance(exc, LimitError) else refusal)(str(exc), where=where)


def blob_name(path: Iterable[str], tag: str) -> str:
    """Return the name of a blob for messages."""
    return f"{'/'.join(path)}.{tag}"


def tag_place(path: Iterable[str], tag: object) -> str:
    """Return the place of a tag for messages. A tag that cannot be printed is escaped, and a long one left out."""
    if not isinstance(tag, str) or len(tag) > MAX_KEY:
        return "/".join(path)
    return blob_name(path, tag if tag.isprintable() else ascii(tag)[1:-1])
