"""Where named snapshots live: `contract` is what every store promises, `local` is the store in a directory."""

from chkpt.store.contract import MAX_NAME_SIZE, Listing, Store, Write, check_name, is_name
from chkpt.store.local import LocalStore, publish

__all__ = ["MAX_NAME_SIZE", "Listing", "LocalStore", "Store", "Write", "check_name", "is_name", "publish"]
