"""Breaks what chkpt stands on (files, memory, processes, its own input) and tells in a table what came of it.

Each part (`saves`, `loads`, ...) is a module with a function `rows(scratch, *, sample)`: it injects its faults into the
real commands and returns what it saw as rows. `python -m tests.lab.reliability` runs the parts and puts their rows into
`docs/RELIABILITY.md`.
"""
