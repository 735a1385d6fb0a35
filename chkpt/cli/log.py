"""The log on stderr: `chkpt: warning: ...`, one line a record."""

import logging


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
