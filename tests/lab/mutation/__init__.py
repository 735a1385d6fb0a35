"""Mutation testing: whether the tests notice when a line of a device is wrong. `make mutants` runs it.

mutmut makes the mutants and runs the tests against each; `[tool.mutmut]` in pyproject.toml says of which files and with
which tests. `equivalents.toml` names the mutants that no guest and no user could tell from the original.
"""
