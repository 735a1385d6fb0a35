"""Who has signed a snapshot, and who may read it: Ed25519 signatures, encryption with age.

    with open_snapshot(path, identity=identity, trusted=trusted_keys([keys])) as reader:
        machine.load(reader.checkpoint())         # what was verified is what is loaded: all is under one root digest

`keys` and `signing` need the extra `sign` (cryptography), `age` the extra `age` (pyrage); each is imported when it is
used. `docs/decisions/` tells where signatures are (0021), and who checks them and holds what is encrypted (0022).
"""

from chkpt.seal.age import generate_identity
from chkpt.seal.keys import PublicKey, TrustedKeys, generate_key, trusted_keys
from chkpt.seal.open import open_snapshot
from chkpt.seal.sign import Signer, Verdict, require, sign_beside, sign_file, signer, signers
from chkpt.seal.wrap import Sealing, sealing

__all__ = [
    "PublicKey",
    "Sealing",
    "Signer",
    "TrustedKeys",
    "Verdict",
    "generate_identity",
    "generate_key",
    "open_snapshot",
    "require",
    "sealing",
    "sign_beside",
    "sign_file",
    "signer",
    "signers",
    "trusted_keys",
]
