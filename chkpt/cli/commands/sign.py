"""`chkpt sign`: sign a snapshot."""

from pathlib import Path
from typing import Annotated

import typer

from chkpt.cli.options import DEFAULT_STORE, AsJson, Identity, Snapshot, Store, saved_path
from chkpt.cli.output import escape, show, show_json


def sign(
    snapshot: Snapshot,
    *,
    key: Annotated[Path, typer.Option("--key", "-k", metavar="KEY", help="The secret key, from chkpt keygen.")],
    detached: Annotated[
        bool, typer.Option("--detached", help="Leave the file as it is and write the signature beside it: FILE.sig.")
    ] = False,
    identity: Identity = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Check every byte of SNAPSHOT, then sign it.

    The signature covers the root digest, and so the whole machine. It is written into the file, which is then in format
    2 and keeps its digest; with --detached it is written beside the file. Up to 16 keys may sign a snapshot.
    """
    from chkpt.seal import open_snapshot, sign_beside, sign_file

    path = saved_path(snapshot, store)
    if detached:
        with open_snapshot(path, identity=identity) as reader:
            public, place = sign_beside(reader, key)
    else:
        public, place = sign_file(path, key), path
    if as_json:
        show_json({"snapshot": str(path), "key": public.id, "signature": str(place)})
        return
    show(escape(f"signed {path} with key {public.id}" + (f", in {place}" if detached else "")))
