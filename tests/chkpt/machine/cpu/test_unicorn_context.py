"""Where Unicorn keeps its registers is found, and found in memory that is still held."""

import os
import subprocess
import sys


def test_the_registers_are_found_in_memory_that_is_still_held() -> None:
    """glibc overwrites freed memory (mallopt(3), M_PERTURB), so a late read finds no registers there."""
    code = (
        "import unicorn; from chkpt.machine.cpu.unicorn_context import discover\nfor _ in range(3):\n    discover({})"
    )
    engine = "unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)"
    environment = {**os.environ, "MALLOC_PERTURB_": "165"}
    subprocess.run([sys.executable, "-c", code.format(engine)], env=environment, check=True)
