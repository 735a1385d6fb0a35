"""Run mutmut over the files named on the command line, after the number of workers.

mutmut mutates all that pyproject.toml names, whatever it is asked to try. Told here to leave the rest alone, it sees
faster which test reaches which function, and that is most of its work for a small file.
"""

import sys

from mutmut.__main__ import cli
from mutmut.configuration import config

workers, *files = sys.argv[1:]
config().only_mutate = files
cli(["run", "--max-children", workers])
