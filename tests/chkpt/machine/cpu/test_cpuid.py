"""CPUID reports no feature that the engine lacks: an instruction of each reported feature is run."""

import dataclasses

import pytest

from chkpt.machine.cpu.cpuid import cpuid
from chkpt.machine.cpu.execution import Outcome
from tests.chkpt.machine.cpu.string_guests import guest, state
from tests.guests import SECOND, START, execution

# leaf, register (ECX 2, EDX 3), bit: an instruction in long mode, with RAX = 30000h
REPORTED = {
    "CMPXCHG8B": (1, 3, 8, "0fc708"),
    "CMOV": (1, 3, 15, "0f44c0"),
    "CLFLUSH": (1, 3, 19, "0fae38"),
    "MMX": (1, 3, 23, "0fefc0 0f77"),
    "FXSR": (1, 3, 24, "0fae00 0fae08"),
    "SSE": (1, 3, 25, "0f57c0"),
    "SSE2": (1, 3, 26, "660fefc0"),
    "SSE3": (1, 2, 0, "f20f12c0"),
    "CMPXCHG16B": (1, 2, 13, "480fc708"),
    "TSC": (1, 3, 4, "0f31"),
    "FPU": (1, 3, 0, "d9ee ddd8"),
    "LAHF": (0x8000_0001, 2, 0, "9f 9e"),
    "RDTSCP": (0x8000_0001, 3, 27, "0f01f9"),
    "SSSE3": (1, 2, 9, "660f3801c0"),
    "POPCNT": (1, 2, 23, "f30fb8c0"),
    "PCLMULQDQ": (1, 2, 1, "660f3a44c000"),
    "XGETBV": (1, 2, 27, "0f01d0"),
    "RDRAND": (1, 2, 30, "0fc7f0"),
}


@pytest.mark.parametrize("name", REPORTED)
def test_features_that_cpuid_reports_can_be_run(name: str) -> None:
    leaf, register, bit, code = REPORTED[name]
    if not cpuid(leaf, 0x500)[register] >> bit & 1:
        assert name in {"RDTSCP", "SSSE3", "POPCNT", "PCLMULQDQ", "XGETBV", "RDRAND"}
        return
    board = guest(64, [], interrupts=False, bulk=True)
    board.memory.write(START, bytes.fromhex(f"b800000300 {code} faf4"))
    execution(board).load(dataclasses.replace(state(64), cr4=0x620))  # PAE, OSFXSR, OSXMMEXCPT
    assert board.run(until=SECOND // 100) is Outcome.DEAD
    board.close()
