"""Describe a proof of the processor, in words and as JSON."""

from collections.abc import Iterator
from typing import Final

from chkpt.prove.cpu.search import CpuFinding, CpuProof

MOST: Final = 12
"""The most differences that are shown."""


def report_lines(proof: CpuProof) -> Iterator[str]:
    """Yield the lines that show what was tried, and the result."""
    finding = proof.finding
    if finding is not None:
        yield f"a restore shows, in program {finding.number} of seed {proof.seed}, cut at tick {finding.tick}:"
        yield from (f"  {name}: {whole}, restored {restored}" for name, whole, restored in _shown(finding))
        yield f"the shortest program found, {len(finding.program.phrases)} of {finding.length} phrases:"
        yield ""
        yield from listing(finding)
        yield ""
    yield f"{proof.programs} programs, {proof.cuts} cuts and loads in {proof.seconds:.1f} s, seed {proof.seed}"
    if finding is not None:
        return
    total = len(proof.reached) + len(proof.unreached)
    yield f"cpu: fields {len(proof.reached)} of {total}"
    if proof.unreached:
        yield f"  fields that had one value at every cut: {', '.join(proof.unreached)}"
    yield "no guest could tell"


def listing(finding: CpuFinding) -> Iterator[str]:
    """Yield a program: the address, the bytes and the name of each phrase."""
    program = finding.program
    yield f"; {program.bits}-bit mode, {program.rounds} rounds, the timer every {program.count} periods"
    for address, name, code in program.parts():
        yield f"{address:04x}  {code.hex():40}  ; {name}"


def _shown(finding: CpuFinding) -> Iterator[tuple[str, str, str]]:
    for name, whole, restored in finding.differences[:MOST]:
        yield name, whole[:100], restored[:100]


def json_proof(proof: CpuProof) -> dict[str, object]:
    """Return a proof as JSON has it."""
    finding = proof.finding
    return {
        "seed": proof.seed,
        "programs": proof.programs,
        "cuts": proof.cuts,
        "seconds": round(proof.seconds, 3),
        "finding": None
        if finding is None
        else {
            "program": finding.number,
            "bits": finding.program.bits,
            "tick": finding.tick,
            "phrases": len(finding.program.phrases),
            "phrases_found": finding.length,
            "differences": [
                {"field": name, "whole": whole, "restored": restored} for name, whole, restored in finding.differences
            ],
            "listing": [*listing(finding)],
        },
        "reached": [*proof.reached],
        "unreached": [*proof.unreached],
    }
