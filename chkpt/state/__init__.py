"""Turn a state's dataclass into a context and back: kinds of field, ranges, versions, upgrades, schema.

A dataclass is read once into a list of its fields. After that a save is a few dictionary operations, and a load is one
check per field. The same rules read a configuration table, which need not have all fields.

| field | in the context |
|---|---|
| integer, bool, bytes, str, Enum, tuple of these | a tagged value |
| another dataclass | a child context of the field's name |
| tuple of dataclasses | a child context with the children `0`, `1`, ... |
| Blob | a blob |
| `X | None` that is None | the value nil |
"""

from chkpt.state.contexts import from_context, owned, schema, shift_times, to_context
from chkpt.state.declarations import declared, pack_schemas, unpack_schemas
from chkpt.state.kinds import printable
from chkpt.state.tables import from_table, refuse_unknown

__all__ = [
    "declared",
    "from_context",
    "from_table",
    "owned",
    "pack_schemas",
    "printable",
    "refuse_unknown",
    "schema",
    "shift_times",
    "to_context",
    "unpack_schemas",
]
