"""The prover: looks for anything by which a guest could tell that its machine was saved and restored.

    from chkpt.prove import assert_invisible

    def test_a_restore_is_invisible() -> None:
        assert_invisible(SCRATCHPAD)

It drives machines with random conversations and saves them at random points. A twin loads the snapshot, in the real
file format. Then the prover compares the machine and its twin step by step. docs/PROVE.md says what it compares and
what it cannot find.
"""

from chkpt.prove.lockstep import Divergence, Experiment, Symptom
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
    "Symptom",
    "assert_invisible",
    "prove",
    "replay",
    "report",
    "setups_of",
]
