"""`chkpt demo`: the main job as a show. A machine is saved while it runs, killed, and goes on in a new process."""

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
            "--trace", help="Play a conversation recorded from QEMU instead, which needs no processor, and compare."
        ),
    ] = False,
    store: Store = DEFAULT_STORE,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the machine's TOML, what else it used and the logs; tell where.")
    ] = False,
) -> None:
    """Save a machine in mid-sector while it runs, kill it, load it in a new process, and show that nothing was lost.

    A small PC boots the guest that comes with chkpt, which writes its disk, reads it back and checks it, by interrupts.
    While it runs it is saved, with a sector half moved; its process is killed; a new one loads the snapshot and goes
    on to the end. Beside it the same machine runs without a stop. Serial output, RAM, disk, ticks and every device
    must be the same at the end, or the status is 1. This needs the extra guest.

    With --trace the machine is driven over qtest by a conversation that was recorded from QEMU, and is saved and killed
    in the middle of it: a sector half read, bytes unread in the UART, an interrupt in service, a count half written.
    Ends with status 1 at the first answer that differs from QEMU's.

    The snapshot demo stays in the store. An earlier demo's is replaced; where another snapshot has that name, nothing
    is done. Several demos may play at once: each has a store of its own until its snapshot is whole, and the last one's
    stays. The disk of the conversation goes with the demo unless --keep is given, and without it that snapshot cannot
    be run.
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
            f"unicorn is not installed, which the demo's guest needs: {install('guest')}; "
            "chkpt demo --trace shows a machine without a processor"
        )
