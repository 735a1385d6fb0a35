"""`python -m chkpt` and `chkpt`: the command line, begun so that Ctrl-C is quiet from the first moment.

The imports of the command line take a tenth of a second, in which nothing is under way yet: Ctrl-C ends the process as
it ends one that does not know the signal, and a shell reports 130.
"""

import signal
import sys


def main() -> None:
    """Run the command line and exit with its status."""
    taken = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not if it was started to ignore Ctrl-C
    if taken:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from chkpt.cli import INTERRUPTED  # noqa: PLC0415  this is what takes so long
    from chkpt.cli import main as run  # noqa: PLC0415

    try:
        if taken:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        if taken:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter's end has nothing to say, either


if __name__ == "__main__":
    main()
