"""Changes of a msgpack value that keep it one: a fuzzer that only flips bits spends its time on broken encodings."""

from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # the package ships no types

INTERESTING: Final[tuple[object, ...]] = (
    None, True, False, 0, 1, -1, 7, 64, 255, 256, 4096, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32,
    (1 << 63) - 1, -(1 << 63), (1 << 64) - 1, 0.0, float("nan"), float("inf"), "", "/", ".", "..", "a", "devices",
    "e\u0301", "\u0440ic", "\x1b[2J", "\u202e", b"", b"\0" * 32, [], {}, "16M", "null", "scratch",
)  # fmt: skip


def unpack(data: bytes) -> object:
    """Return the value in `data`. Raise ValueError where there is none."""
    try:
        value: object = msgpack.unpackb(data, strict_map_key=False, max_ext_len=0)
    except (ValueError, TypeError, msgpack.StackError) as exc:  # a map as a key, an extension
        raise ValueError(f"no msgpack: {exc!r}") from exc
    return value


def pack(value: object) -> bytes:
    """Return `value` in msgpack."""
    data: bytes = msgpack.packb(value)
    return data


def changed(data: bytes, max_size: int, seed: int, mutate: Callable[[bytes, int], bytes]) -> bytes:
    """Return another input: the value in `data` changed here and there, or else what `mutate` makes of the bytes."""
    choose = Random(seed)
    if choose.random() < 0.2:
        return mutate(data, max_size)
    try:
        value = unpack(data)
        for _ in range(choose.choice((1, 1, 1, 2, 4))):
            value = _changed(value, choose, mutate)
        result = pack(value)
    except (ValueError, OverflowError, RecursionError):
        return mutate(data, max_size)
    return result if len(result) <= max_size else mutate(data, max_size)


def _changed(value: Any, choose: Random, mutate: Callable[[bytes, int], bytes]) -> object:
    """Return a copy of `value` with one change somewhere in it."""
    if isinstance(value, list | dict) and value and choose.random() < 0.85:
        keys = list(range(len(value))) if isinstance(value, list) else list(value)
        key = choose.choice(keys)
        copy: Any = value.copy()
        copy[key] = _changed(value[key], choose, mutate)
        return copy
    if isinstance(value, list):
        return _changed_list(value, choose)
    if isinstance(value, dict):
        return _changed_map(value, choose)
    return _leaf(value, choose, mutate)


def _leaf(value: object, choose: Random, mutate: Callable[[bytes, int], bytes]) -> object:
    if choose.random() < 0.4:
        return choose.choice(INTERESTING)
    if isinstance(value, bytes):
        return mutate(value, max(len(value) * 2, 16)) if choose.random() < 0.7 else value + bytes(choose.randrange(9))
    if isinstance(value, str):
        return mutate(value.encode(), max(len(value) * 2, 16)).decode("utf-8", "ignore")
    if isinstance(value, int):
        return max(-(1 << 63), min((1 << 64) - 1, value + choose.choice((-1, 1, 2, -2, 1 << choose.randrange(64)))))
    return choose.choice(INTERESTING)


def _changed_list(value: list[object], choose: Random) -> object:
    copy, kind = value.copy(), choose.randrange(5)
    if kind == 0 or not copy:
        copy.insert(choose.randint(0, len(copy)), choose.choice(INTERESTING))
    elif kind == 1:
        del copy[choose.randrange(len(copy))]
    elif kind == 2:
        copy.insert(choose.randrange(len(copy)), choose.choice(copy))
    elif kind == 3:
        choose.shuffle(copy)
    else:
        return choose.choice((copy * 2, [copy], copy[0]))
    return copy


def _changed_map(value: dict[object, object], choose: Random) -> object:
    copy, kind = value.copy(), choose.randrange(4)
    keys = list(copy)
    if kind == 0 or not copy:
        copy[choose.choice((*keys, "x", "type", "version", "values", "contexts", "path"))] = choose.choice(INTERESTING)
    elif kind == 1:
        del copy[choose.choice(keys)]
    elif kind == 2:
        copy[choose.choice(("x", "a", "0", *keys))] = copy[choose.choice(keys)]
    else:
        choose.shuffle(keys)
        return {key: value[key] for key in keys}
    return copy
