"""One target with atheris, in this process: `python -m tests.lab.fuzz.launch TARGET [libFuzzer's options] CORPUS`."""

import logging
import shlex
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["chkpt", "devices"]):
    from tests.lab.fuzz.targets import TREES, targets
    from tests.lab.fuzz.trees import changed


def main() -> None:
    """Run until libFuzzer ends the process."""
    name = sys.argv[1]
    logging.disable()
    for folder in (argument for argument in sys.argv[2:] if not argument.startswith("-")):
        Path(folder).mkdir(parents=True, exist_ok=True)
    mutator = None
    if name in TREES:

        def mutator(data: bytes, max_size: int, seed: int) -> bytes:
            return changed(data, max_size, seed, atheris.Mutate)

    again = f"{shlex.quote(sys.executable)} -m tests.lab.fuzz.launch {name}"  # for a shell of libFuzzer's
    atheris.Setup([again, *sys.argv[2:]], targets()[name], custom_mutator=mutator)
    atheris.Fuzz()


main()
