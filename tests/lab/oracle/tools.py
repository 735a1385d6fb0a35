"""What a live QEMU takes: the programs, the module that gives Debian's QEMU its qtest clock, and the disk."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from chkpt.interop.trace import disk
from tests.lab.oracle.qemu import PROGRAM

PACKAGES: Final = {PROGRAM: "qemu-system-x86", "gcc": "gcc", "nm": "binutils"}
"""The programs that are needed, and the Debian packages that have them."""

CACHE: Final = Path(".oracle")
"""Where what is built lies; nothing in it is worth keeping."""

HERE: Final = Path(__file__).parent
MODULE: Final = "accel-qtest-x86_64.so"
VERSION: Final = re.compile(r"version (7\.2\.\S+ \(Debian .*\))")
"""The QEMU whose layouts in memory `qtest_accel.c` restates."""


class MissingToolsError(Exception):
    """This machine lacks what a live QEMU takes; the message says what to install."""


def find_tools() -> str:
    """Return QEMU's version. Raise MissingToolsError for a missing program, or another QEMU than Debian 12's."""
    missing = [program for program in PACKAGES if shutil.which(program) is None]
    if missing:
        packages = " ".join(PACKAGES[program] for program in missing)
        raise MissingToolsError(f"{', '.join(missing)} not found: apt-get install --no-install-recommends {packages}")
    told = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False).stdout
    found = VERSION.search(told)
    if found is None:
        first = told.partition("\n")[0]
        raise MissingToolsError(f"{PROGRAM} is {first!r}, but the clock module is for Debian 12's QEMU 7.2")
    return found[1]


def build(cache: Path = CACHE) -> tuple[Path, Path]:
    """Build what is not there yet; return the disk's image and the directory of QEMU's module.

    Raises:
        MissingToolsError: the module cannot be built; the message is what the compiler said.
    """
    module, image = cache / MODULE, cache / "disk.img"
    newest = max((HERE / "qtest_accel.c").stat().st_mtime, Path(shutil.which(PROGRAM) or "/").stat().st_ctime)
    if not module.exists() or module.stat().st_mtime < newest:
        run = subprocess.run(["sh", HERE / "build.sh", cache], capture_output=True, text=True, check=False)
        if run.returncode:
            raise MissingToolsError(f"{MODULE} cannot be built: {run.stderr.strip()}")
    if not image.exists():
        unfinished = image.with_suffix(".new")
        unfinished.write_bytes(disk())
        unfinished.rename(image)
    return image.absolute(), cache.absolute()
