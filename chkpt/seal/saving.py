"""What is done to a snapshot on its way into a file: signed, then encrypted."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chkpt.seal.age import check_recipients, encrypt
from chkpt.seal.keys import PublicKey
from chkpt.seal.signing import signer
from chkpt.snapshot import Sign, Writable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sealing:
    """Who signs, and who can read it then; neither is asked for where it is empty."""

    key: PublicKey | None = None
    sign: Sign | None = None
    recipients: Sequence[str] = ()

    def write(self, file: Writable, save: Callable[[Writable], T]) -> tuple[int | None, T]:
        """Let `save` write a snapshot, and have it end up in `file`, encrypted where there are recipients.

        `save` signs by handing `sign` to `chkpt.snapshot.dump`. Return how long the encrypted file is, None for one
        that is not, and what `save` returned. The plaintext is in memory only.

        Raises:
            StorageError: `file` refuses.
            ChkptError: as `save` raises.
        """
        if not self.recipients:
            return None, save(file)
        plain = io.BytesIO()
        result = save(plain)
        return encrypt(plain, file, self.recipients), result


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
