"""What the tests of the oracle need."""

from pathlib import Path

import pytest

from chkpt.interop.trace import disk


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    path.write_bytes(disk())
    return path
