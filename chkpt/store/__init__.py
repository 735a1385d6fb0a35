"""Where named snapshots live: `contract` is what every store promises, `local` stands on `replacing` and `files`."""

from chkpt.store.contract import MAX_NAME_SIZE, Listing, Store, Write, check_name, is_name
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
    "check_name",
    "is_name",
    "publishing",
]
