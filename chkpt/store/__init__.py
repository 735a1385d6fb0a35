"""Stores of named snapshots: `contract` is what every store promises, `local` uses `publish` and `files`."""

from chkpt.store.contract import MAX_NAME_SIZE, Listing, Store, Write, check_snapshot_name, is_snapshot_name
from chkpt.store.files import Leavings
from chkpt.store.local import LocalStore
from chkpt.store.publish import publishing

__all__ = [
    "MAX_NAME_SIZE",
    "Leavings",
    "Listing",
    "LocalStore",
    "Store",
    "Write",
    "check_snapshot_name",
    "is_snapshot_name",
    "publishing",
]
