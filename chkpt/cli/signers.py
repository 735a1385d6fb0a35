"""Who has signed a snapshot, as text and as JSON."""

from typing import TYPE_CHECKING

from chkpt.errors import ChkptError

if TYPE_CHECKING:
    from chkpt.seal import TrustedKeys
    from chkpt.snapshot import Reader


def signatures(reader: "Reader", trusted: "TrustedKeys | None") -> "list[dict[str, object]]":
    """Return each signature in the file and beside it: its key, its verdict, its place.

    If a check is not possible, the verdict says why: the extra `sign` is missing, or the file of signatures is damaged.
    """
    from chkpt.seal import PublicKey, signers

    try:
        found = signers(reader, trusted or {})
    except ChkptError as exc:
        rows: list[dict[str, object]] = [
            {"key": PublicKey(each.public_key).id, "name": "", "verdict": "not checked", "place": reader.name}
            for each in reader.signatures
        ]
        return [*rows, {"key": "", "name": "", "verdict": f"not checked: {exc}", "place": reader.name}]
    return [
        {"key": each.key.id, "name": each.key.name, "verdict": each.verdict.value, "place": each.place}
        for each in found
    ]


def signature_lines(reader: "Reader", trusted: "TrustedKeys | None") -> list[str]:
    """Return one line for each signature. The place is shown if it is not the snapshot's own file."""
    return [
        " ".join(
            filter(
                None,
                (
                    f"{row['verdict']}",
                    f"{row['key']}",
                    f"({row['name']})" if row["name"] else "",
                    f"in {row['place']}" if row["place"] != reader.name else "",
                ),
            )
        )
        for row in signatures(reader, trusted)
    ]
