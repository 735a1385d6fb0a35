"""The fixture of the commands' tests: a place of the test's own, with its own runtime directory."""

from tests.chkpt.cli.conftest import home

__all__ = ["home"]
