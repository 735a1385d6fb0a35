"""Images that take long to identify, as long as a test wants."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from chkpt_devices.backends import image as image_module
from chkpt_devices.backends.identity import Kind, identity_of

GIB: Final = 1 << 30


def sparse(path: Path, size: int = 64 * GIB, at: int = 33 * GIB + 4096, data: bytes = b"data" * 1024) -> Path:
    """Make a file of holes with a little in the middle, long ago."""
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(at)
        file.write(data)
    return path


class Gate:
    """Holds what identifies an image, and only that, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

        def held(
            kind: Kind,
            size: int,
            read: Callable[[int, int], bytes],
            extents: Iterator[tuple[int, int]],
            check: Callable[[], None],
        ) -> bytes:
            self.entered.set()
            while not self.opened.wait(0.01):
                check()  # as the real one does before each piece
            return identity_of(kind, size, read, extents, check)

        monkeypatch.setattr(image_module, "identity_of", held)
