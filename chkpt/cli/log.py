"""The log on stderr: `chkpt: warning: ...`, one line a record."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class LineFormat(logging.Formatter):
    """Shows the level in lower case, as other programs' messages have it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        """Return the line without a traceback."""
        return f"chkpt: {record.levelname.lower()}: {record.message}"


def configure(verbose: int) -> None:
    """Log warnings to stderr; with `verbose` 1 what is done, too, and with more every detail."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormat())
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, handlers=[handler])


@contextmanager
def lines_end_in(terminator: str) -> Iterator[None]:
    """End the lines of the log on a terminal in `terminator` for a while: on a raw one a newline only goes down."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if type(handler) is logging.StreamHandler and handler.stream.isatty()
    ]
    for handler in handlers:
        handler.terminator = terminator
    try:
        yield
    finally:
        for handler in handlers:
            handler.terminator = logging.StreamHandler.terminator
