"""Load a snapshot in this process, run its guest to the end, tell the end: `python -m tests.guests.resume SNAPSHOT`."""

import json
import sys

from chkpt.snapshot import Reader
from tests.guests import computer, digest, finish, output


def main() -> None:
    machine = computer()
    with Reader.open(sys.argv[1]) as reader:
        machine.load(reader.checkpoint())
    finish(machine)
    print(json.dumps({"digest": digest(machine), "output": output(machine).decode()}))  # noqa: T201
    machine.close()


if __name__ == "__main__":
    main()
