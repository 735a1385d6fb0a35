"""Signs a snapshot, then encrypts it, on its way into a file."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chkpt.seal.age import check_recipients, encrypt
from chkpt.seal.keys import PublicKey
from chkpt.seal.sign import signer
from chkpt.snapshot import Sign, Writable


@dataclass(frozen=True, slots=True)
class Sealing:
    """The key that signs a snapshot, if any, and the recipients that can read it; without recipients it is plain."""

    key: PublicKey | None = None
    sign: Sign | None = None
    recipients: Sequence[str] = ()

    @contextmanager
    def wrapping(self, file: Writable) -> Iterator[Writable]:
        """Yield a file to write a snapshot to. It gets into `file` at the end, encrypted if there are recipients.

        Pass `sign` to `chkpt.snapshot.dump` to sign the snapshot. The plaintext of an encrypted snapshot is only in
        memory.

        Raises:
            StorageError: `file` cannot be written.
        """
        if not self.recipients:
            yield file
            return
        plain = io.BytesIO()
        yield plain
        encrypt(plain, file, self.recipients)


def sealing(key: Path | None, recipients: Sequence[str]) -> Sealing:
    """Read the secret key, if there is one, and check the recipients, before anything is saved.

    Raises:
        NotFoundError: there is no such key file.
        KeyFileError: the key or a recipient cannot be used.
        StorageError: a file cannot be read.
        ChkptError: an extra that this needs is not installed.
    """
    public, sign = (None, None) if key is None else signer(key)
    check_recipients(recipients)
    return Sealing(public, sign, tuple(recipients))
