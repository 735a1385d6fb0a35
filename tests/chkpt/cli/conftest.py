import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A place of the test's own to work in, with its own runtime directory, whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="chkpt-test-") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        monkeypatch.delenv("CHKPT_STORE", raising=False)
        monkeypatch.chdir(tmp_path)
        yield tmp_path
