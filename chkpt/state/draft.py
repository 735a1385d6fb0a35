"""How an instance of a frozen dataclass is made in less time (docs/decisions/0008).

A frozen dataclass assigns each of its fields through a call of `object.__setattr__`. Where a state is read, the
instance is of another class meanwhile, its draft, which has the same slots and is not frozen: plain assignments do.
"""

import dataclasses
from functools import cache
from typing import Any, cast


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

    Return None where there is more to making an instance than to assign the fields, or the slots are not just those.
    """
    return _draft_of(cls)
