import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of the test's own, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="chkpt-test-") as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        yield Path(path)
