"""What is done to a snapshot on its way into a file: signed, then encrypted."""

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
    """Who signs, and who can read it then; neither is asked for where it is empty."""

    key: PublicKey | None = None
    sign: Sign | None = None
    recipients: Sequence[str] = ()

    @contextmanager
    def sealed(self, file: Writable) -> Iterator[Writable]:
        """Yield a file for a snapshot, which ends up in `file`: encrypted, if there are recipients.

        To have the snapshot signed, hand `sign` to `chkpt.snapshot.dump`. The plaintext of an encrypted one is in
        memory only.

        Raises:
            StorageError: `file` refuses.
        """
        if not self.recipients:
            yield file
            return
        plain = io.BytesIO()
        yield plain
        encrypt(plain, file, self.recipients)


def sealing(key: Path | None, recipients: Sequence[str]) -> Sealing:
    """Read the secret key, if one is to sign, and check the recipients, before anything is saved.

    Raises:
        NotFoundError: there is no such key file.
        KeyFileError: the key or a recipient cannot be used.
        StorageError: a file cannot be read.
        ChkptError: an extra that this needs is not installed.
    """
    public, sign = (None, None) if key is None else signer(key)
    check_recipients(recipients)
    return Sealing(public, sign, tuple(recipients))
