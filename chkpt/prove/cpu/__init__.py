"""The prover of the processor: random programs, cut at random ticks, restored, and compared with a run never cut.

    chkpt prove cpu

The other prover drives devices, and its machines have no processor. Here a guest is the test: a program of random
phrases (`phrases`) in a small machine (`program`). It runs to its end once, and again from each of some snapshots
(`search`). At the end both machines must be equal: registers, memory, ticks, clock and devices.
"""

from chkpt.prove.cpu.program import Program, make_program
from chkpt.prove.cpu.report import json_proof, report_lines
from chkpt.prove.cpu.search import CpuFinding, CpuProof, prove_cpu

__all__ = ["CpuFinding", "CpuProof", "Program", "json_proof", "make_program", "prove_cpu", "report_lines"]
