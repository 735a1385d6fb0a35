import pytest


@pytest.fixture(autouse=True)
def _own_runtime(runtime: object) -> None:
    """Give every test a runtime directory of its own."""
