"""The prover: looks for anything by which a guest could tell that its machine was saved and restored.

    from chkpt.prove import assert_invisible

    def test_a_restore_is_invisible() -> None:
        assert_invisible(SCRATCHPAD)

It drives machines with made-up conversations, cuts them anywhere, and compares a machine that goes on with its twin
that was loaded from the snapshot, through the real file format, step by step. docs/PROVE.md says what it compares and
what it cannot find.
"""

from chkpt.prove.lockstep import Divergence, Experiment, What
from chkpt.prove.prover import Finding, Proof, prove
from chkpt.prove.reach import DeviceReach, Share
from chkpt.prove.report import assert_invisible, report
from chkpt.prove.setup import Setup, setups_of
from chkpt.prove.transcript import replay

__all__ = [
    "DeviceReach",
    "Divergence",
    "Experiment",
    "Finding",
    "Proof",
    "Setup",
    "Share",
    "What",
    "assert_invisible",
    "prove",
    "replay",
    "report",
    "setups_of",
]
