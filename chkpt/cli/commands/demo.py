"""`chkpt demo`: save a machine while it runs, kill it, and go on in a new process."""

from typing import Annotated, Final

import typer

from chkpt.cli.options import DEFAULT_STORE, Store
from chkpt.errors import ChkptError

NAME: Final = "demo"
"""The snapshot's name, and the machine's."""


def demo(
    *,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace",
            help="Replay a conversation recorded from QEMU instead and compare answers; needs no processor.",
        ),
    ] = False,
    store: Store = DEFAULT_STORE,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the machine's files and the logs, and show where they are.")
    ] = False,
) -> None:
    """Save a machine in mid-sector while it runs, kill it, load it in a new process, and show that nothing was lost.

    A small PC boots the guest that comes with chkpt. The guest writes its disk, reads it back and checks it, by
    interrupts. The machine is saved while it runs, with a sector half transferred, and its process is killed. A new
    process loads the snapshot and goes on to the end. Beside it the same machine runs without a stop. Serial output,
    RAM, disk, ticks and every device must be the same at the end, or the status is 1. This needs the extra guest.

    With --trace a conversation recorded from QEMU drives the machine over qtest. The machine is saved and killed in the
    middle: a sector half read, bytes unread in the UART, an interrupt in service, a count half written. The status is
    1 at the first answer that differs from QEMU's.

    The snapshot `demo` stays in the store and replaces that of an earlier demo. If another snapshot has that name,
    nothing is done. Several demos may run at once: each has its own store until its snapshot is whole, and the last
    snapshot stays. With --trace the disk is removed at the end unless --keep is given, and without its disk the
    snapshot cannot be run.
    """
    from chkpt.cli.demo.result import is_earlier

    if not trace:
        _refuse_without_processor()
    is_earlier(store.absolute() / f"{NAME}.zst")
    if trace:
        from chkpt.cli.demo.trace import perform_trace

        perform_trace(NAME, store, keep=keep)
    else:
        from chkpt.cli.demo.guest import perform_guest

        perform_guest(NAME, store, keep=keep)


def _refuse_without_processor() -> None:
    from importlib.util import find_spec

    from chkpt.extras import install

    if find_spec("unicorn") is None:
        raise ChkptError(
            f"the demo's guest needs unicorn, which is not installed: {install('guest')}; "
            "chkpt demo --trace runs without a processor"
        )
