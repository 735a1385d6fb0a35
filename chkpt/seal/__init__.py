"""Signatures of snapshots with Ed25519, and encryption with age.

    with open_snapshot(path, identity=identity, trusted=trusted_keys([keys])) as reader:
        machine.load(reader.checkpoint())         # loads what was verified: one root digest covers everything

`keys` and `sign` need the extra `sign` (cryptography), `age` needs the extra `age` (pyrage); each is imported when it
is used. Decision 0021 says where signatures are; decision 0022 says who checks them and who decrypts.
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
