"""Writes the signed and the encrypted snapshots that every later version must go on reading.

`format-2.zst` is the content of `format-1.zst`, signed by the two keys of `format-2.pub`; `encrypted.zst.age` is the
same file, encrypted for the identity in `encrypted.identity`. The keys are known to all and good for nothing else.

The files are kept as they are: they were written once, and are not written again when the writer changes.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from chkpt.seal import generate_identity, sealing
from chkpt.snapshot import dumps
from chkpt.snapshot.signatures import decode_signatures, encode_signatures
from tests.snapshots.make_format_1 import checkpoint
from tests.support.pairs import pair

HERE = Path(__file__).parent
SIGNED = HERE / "format-2.zst"
KEYS = HERE / "format-2.pub"
ENCRYPTED = HERE / "encrypted.zst.age"
IDENTITY = HERE / "encrypted.identity"


def main() -> None:
    """Write all four files."""
    with TemporaryDirectory() as directory:
        pairs = [pair(Path(directory), name) for name in ("kept one", "kept two")]
        signs = [sealing(each.secret, ()).sign for each in pairs]
        recipient, _ = generate_identity(Path(directory, "identity"))
        seal = sealing(None, [recipient])

        def sign(digest: bytes) -> bytes:
            return encode_signatures(
                each for one in signs if one is not None for each in decode_signatures(one(digest))
            )

        data = dumps(checkpoint(), sign=sign)
        SIGNED.write_bytes(data)
        KEYS.write_bytes(b"".join(each.public.read_bytes() for each in pairs))
        IDENTITY.write_bytes(Path(directory, "identity").read_bytes())
        with ENCRYPTED.open("wb") as file, seal.wrapping(file) as plain:
            plain.write(data)


if __name__ == "__main__":
    main()
