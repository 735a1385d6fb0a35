"""The fields of states that no guest can notice."""

from typing import Final

UNNOTICEABLE: Final = {
    "ide": {
        **{
            f"drive{unit}.disk.{field}": "the disk's identity, which is the same on every machine that takes the state"
            for unit in (0, 1)
            for field in ("size", "identity", "block_size")
        },
    },
}
"""Fields that no guest can notice, and what they are for."""
