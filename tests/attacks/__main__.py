"""Write every attack as a file into a directory: `python -m tests.attacks DIRECTORY`."""

import re
import sys
from pathlib import Path

from tests.attacks.all import ATTACKS

directory = Path(sys.argv[1])
directory.mkdir(parents=True, exist_ok=True)
for attack in ATTACKS:
    name = re.sub(r"[^a-z0-9]+", "-", attack.name.lower()).strip("-")
    (directory / f"R{attack.rule:02}-{name}.zst").write_bytes(attack.make())
print(f"{len(ATTACKS)} files are in {directory}")  # noqa: T201  it is a command
