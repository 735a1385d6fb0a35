"""`chkpt list`: list the snapshots in the store."""

import sys

import typer

from chkpt.cli.options import DEFAULT_STORE, ENCRYPTED, SUFFIX, AsJson, Store
from chkpt.cli.output import escape, show_columns, show_json
from chkpt.cli.values import format_size

DIGEST_DIGITS = 12
"""Hexadecimal digits of a digest that the table shows; --json has all."""


def list_(*, store: Store = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """List the snapshots in the store by name.

    A file that cannot be read is listed with its problem. Only the beginning and the end of each file are read; chkpt
    verify reads all of it. For an encrypted snapshot only name and size are known.
    """
    from chkpt.store.local import LocalStore

    directory = LocalStore(store)
    found = directory.list()
    if as_json:
        document = [
            {
                "name": each.name,
                "path": str(directory.directory.absolute() / (each.name + (ENCRYPTED if each.encrypted else SUFFIX))),
                "size": each.size,
                "created": each.created,
                "machine": each.machine,
                "digest": each.root_digest.hex(),
                "problem": each.problem,
                "encrypted": each.encrypted,
            }
            for each in found
        ]
        show_json(document)
        return
    if not found:
        typer.echo(f"chkpt: no snapshots in {escape(str(store))}", err=True)
        return
    show_size = format_size if sys.stdout.isatty() else str
    rows = [
        (
            each.name,
            show_size(each.size),
            "encrypted" if each.encrypted else each.created or "-",
            each.machine or "-",
            each.root_digest.hex()[:DIGEST_DIGITS] or "-",
            each.problem,
        )
        for each in found
    ]
    show_columns(("NAME", "SIZE", "CREATED", "MACHINE", "DIGEST", "PROBLEM"), rows)
