"""Go on from a snapshot of the demo's guest in this process: `python -m tests.guests.resume_demo FILE [KEY]`.

KEY is typed at its question, where the snapshot was taken before. Prints what `tests.guests.ending` tells of the end.
"""

import json
import sys

from chkpt.snapshot import Reader
from tests.guests import SECOND, demo, ending, key


def main() -> None:
    machine = demo()
    with Reader.open(sys.argv[1]) as reader:
        machine.load(reader.checkpoint())
    machine.run(enough=lambda: machine.clock.now > 10 * SECOND)  # a guest that has lost something may never come there
    for each in sys.argv[2:]:
        key(machine, each)
    print(json.dumps(ending(machine)))  # noqa: T201
    machine.close()


if __name__ == "__main__":
    main()
