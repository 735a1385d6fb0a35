"""Breaks what chkpt depends on (files, memory, processes, its own input), and shows the outcomes in tables.

Each part (`saves`, `loads`, ...) is a module with a function `rows(scratch, *, sample)`. It injects its faults into the
real commands and returns the outcomes as rows. `python -m tests.lab.reliability` runs the parts and puts their rows
into `docs/RELIABILITY.md`.
"""
