"""`python -m chkpt`: the same as `chkpt`."""

from chkpt.cli import main

main()
