"""How long a machine was off: from the time that its snapshot tells to now, on the host's clock."""

import logging
from datetime import UTC, datetime

from chkpt.errors import StateError
from chkpt.snapshot import Reader

log = logging.getLogger("chkpt.service")


def seconds_since(reader: Reader) -> int:
    """Return the whole seconds since the snapshot was created; 0 where that is in the future.

    Raises:
        StateError: the header's `created` is no date.
    """
    created = str(reader.header["created"])
    try:
        then = datetime.fromisoformat(created)
        since = (datetime.now(UTC) - then).total_seconds()
    except (ValueError, TypeError, OverflowError) as exc:  # TypeError: without a zone
        raise StateError(
            f"{reader.name}: it was created at {created!r}, which is no date; load it with --time freeze"
        ) from exc
    if since < 0:
        log.warning("%s: it was created at %s, which is in the future: its dates stay", reader.name, created)
    return max(int(since), 0)
