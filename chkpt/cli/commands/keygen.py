"""`chkpt keygen`: make a key to sign with, or an identity to encrypt for."""

from pathlib import Path
from typing import Annotated

import typer

from chkpt.cli.options import AsJson
from chkpt.cli.output import escape, show, show_json
from chkpt.errors import UsageError


def keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The secret key's file; the public key's is FILE.pub.")],
    *,
    age: Annotated[
        bool, typer.Option("--age", help="Make an age identity, for encryption, instead of a key for signatures.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace existing files.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a pair of keys: FILE, which only its owner can read and must keep secret, and FILE.pub for others.

    FILE is an Ed25519 key in PEM (PKCS#8), without a passphrase, for chkpt sign and chkpt save --sign. With --age it is
    an identity of age, for --identity, and FILE.pub holds its recipient, for chkpt save --recipient.
    """
    from chkpt.seal import generate_identity, generate_key

    if file.name in {"", ".", ".."} or file.is_dir():
        raise UsageError("this is a directory; give the path of a new file", where=str(file))
    if age:
        who, public = generate_identity(file, force=force)
    else:
        key, public = generate_key(file, force=force)
        who = key.id
    if as_json:
        show_json(
            {"recipient" if age else "key": who, "secret": str(file.absolute()), "public": str(public.absolute())}
        )
        return
    show(escape(f"{'recipient' if age else 'key'} {who}: secret in {file}, public in {public}"))
