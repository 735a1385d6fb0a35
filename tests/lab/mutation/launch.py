"""Run mutmut over the files named on the command line, after the number of workers.

mutmut mutates all that pyproject.toml names, whatever it is asked to try. Told here to leave the rest alone, it sees
faster which test reaches which function, and that is most of its work for a small file.

mutmut takes a module's name from the path of its file, and knows no folder but `src` that is not part of the name. So
it is given another one here: `devices`, which holds the package `chkpt_devices`.
"""

import sys

from mutmut.__main__ import cli
from mutmut.configuration import config
from mutmut.utils import format_utils

strip_prefix = format_utils.strip_prefix


def strip_folder(s: str, *, prefix: str, strict: bool = False) -> str:
    """Remove a prefix from a name, as mutmut's own function does, and the folder of the devices."""
    return strip_prefix(strip_prefix(s, prefix="devices."), prefix=prefix, strict=strict)


format_utils.strip_prefix = strip_folder
workers, *files = sys.argv[1:]
config().only_mutate = files
cli(["run", "--max-children", workers])
