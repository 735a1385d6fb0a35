"""`python -m chkpt` and `chkpt`: start the command line so that Ctrl-C never prints a traceback.

The imports of the command line take a tenth of a second. Nothing is under way yet, so Ctrl-C then ends the process by
the signal's default action, and a shell reports 130.
"""

import signal
import sys


def main() -> None:
    """Run the command line and exit with its status."""
    taken = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # false if the parent set it to ignore Ctrl-C
    if taken:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from chkpt.cli import INTERRUPTED  # noqa: PLC0415  the slow import
    from chkpt.cli import main as run  # noqa: PLC0415

    try:
        if taken:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        if taken:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback while the interpreter exits


if __name__ == "__main__":
    main()
