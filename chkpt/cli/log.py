"""The log on stderr: `chkpt: warning: ...`, one line a record."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class LineFormat(logging.Formatter):
    """Shows the level in lower case, as other programs do."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        """Return the line without a traceback."""
        return f"chkpt: {record.levelname.lower()}: {record.message}"


def configure(verbose: int) -> None:
    """Log warnings to stderr. If `verbose` is 1, also log what is done; if it is more, every detail."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormat())
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, handlers=[handler])


@contextmanager
def end_lines_in(terminator: str) -> Iterator[None]:
    """End the log's lines on a terminal with `terminator` in the block: a raw terminal needs a carriage return, too."""
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
