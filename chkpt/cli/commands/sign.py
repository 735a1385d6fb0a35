"""`chkpt sign`: sign a snapshot."""

from pathlib import Path
from typing import Annotated

import typer

from chkpt.cli.options import DEFAULT_STORE, AsJson, Identity, Snapshot, Store, saved_path
from chkpt.cli.output import plain, show, show_json


def sign(
    snapshot: Snapshot,
    *,
    key: Annotated[Path, typer.Option("--key", "-k", metavar="KEY", help="The secret key, from chkpt keygen.")],
    detached: Annotated[
        bool, typer.Option("--detached", help="Leave the file as it is, and put the signature beside it: FILE.sig.")
    ] = False,
    identity: Identity = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Sign SNAPSHOT, once every byte of it has been checked.

    The signature covers the root digest, and so the whole machine. It goes into the file, which then is in format 2 and
    keeps its digest, or with --detached beside it. Others may have signed before: up to 16 keys may.
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
    show(plain(f"signed {path} with key {public.id}" + (f", in {place}" if detached else "")))
