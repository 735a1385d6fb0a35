"""Describe a proof in words."""

from collections.abc import Iterator
from typing import Any, Final

from chkpt.device import DeviceType
from chkpt.machine import MachineConfig
from chkpt.prove.lockstep import AT_THE_CUT, Divergence, Symptom
from chkpt.prove.prover import RUNS, Proof, prove
from chkpt.prove.reach import DeviceReach, Share
from chkpt.prove.setup import setups_of

MOST: Final = 12
"""The most names in one list."""


def assert_invisible(
    what: DeviceType[Any, Any] | MachineConfig, *, runs: int = RUNS, seconds: float | None = None, seed: int = 0
) -> None:
    """Fail a test if a guest can notice that a machine, or one with a device of this type, was restored.

    Raises:
        AssertionError: a guest can. The message shows the shortest conversation that was found.
    """
    proof = prove(setups_of(what), runs=runs, seconds=seconds, seed=seed)
    if proof.finding is not None:
        raise AssertionError("\n" + "\n".join(report(proof)))


def report(proof: Proof) -> Iterator[str]:
    """Yield the lines that show what was tried, and the outcome."""
    finding = proof.finding
    if finding is not None:
        yield f"a restore shows, in run {finding.run} of seed {proof.seed}: {finding.divergence.what}"
        yield from (f"  {line}" for line in lines_of(finding.divergence))
        steps = len(finding.experiment)
        yield f"the shortest conversation found, {steps} of {finding.length} steps, as a qtest transcript:"
        yield ""
        yield from finding.transcript.splitlines()
        yield ""
    what = f"{proof.runs} runs, {proof.steps} steps, {proof.cuts} cuts and loads"
    yield f"{what} in {proof.seconds:.1f} s, seed {proof.seed}"
    if finding is not None:
        return
    for device in proof.reach:
        yield from _describe_reach(device)
    if proof.unnoticed:
        names = [f"{each.device}.{each.path}" for each in proof.unnoticed]
        yield f"differ after a load, and never showed: {_some(names)}"
    yield "no guest could tell"


def lines_of(found: Divergence) -> Iterator[str]:
    """Yield the lines that show how a machine and its twin differ, and by what."""
    if found.what is Symptom.REFUSED:
        yield f"refused: {found.original}"
        where = "changed in the device, and in no field of that name"
    else:
        when = "right after the load" if found.step == AT_THE_CUT else f"at step {found.step + 1} after the cut"
        yield f"{when}: {found.original} in the machine that went on"
        yield f"{' ' * len(when)}  {found.twin} in the one that was restored"
        where = "differ after the load"
    if found.fields:
        yield f"fields of the state that differ: {_some(found.fields)}"
    if found.attributes:
        yield f"attributes that {where}:"
        for each in found.attributes[:MOST]:
            yield f"  {each.device}.{each.path}: {each.original}, restored {each.twin}"
        if len(found.attributes) > MOST:
            yield f"  and {len(found.attributes) - MOST} more"


def _describe_reach(device: DeviceReach) -> Iterator[str]:
    shares = (("registers", device.registers), ("fields", device.fields), ("branches", device.branches))
    yield f"{device.device}: {', '.join(f'{what} {_share(share)}' for what, share in shares)}"
    for what, share in shares[:2]:
        if share.missing:
            yield f"  {what} not reached: {_some(share.missing)}"


def _share(share: Share) -> str:
    return "not measured" if share.total is None else f"{share.reached} of {share.total}"


def _some(names: "tuple[str, ...] | list[str]") -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
