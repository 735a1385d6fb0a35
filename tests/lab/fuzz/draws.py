"""Where choices come from: the bytes of a fuzzer's input. Tests have the same choices made by hypothesis."""

from typing import Protocol


class Draws(Protocol):
    """Makes choices."""

    def integer(self, least: int, greatest: int, /) -> int:
        """Return an integer from `least` to `greatest`."""

    def data(self, size: int, /) -> bytes:
        """Return `size` bytes."""


class ByteDraws:
    """Choices made by a run of bytes, in its order; once it is used up, the least of each."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._at = 0

    def integer(self, least: int, greatest: int, /) -> int:
        """Take as few bytes as the range needs."""
        span = greatest - least
        return least + int.from_bytes(self.data((span.bit_length() + 7) // 8), "little") % (span + 1)

    def data(self, size: int, /) -> bytes:
        """Take `size` bytes."""
        taken = self._source[self._at : self._at + size]
        self._at += size
        return taken.ljust(size, b"\0")

    @property
    def used_up(self) -> bool:
        """Whether nothing is left to choose."""
        return self._at >= len(self._source)


def one_in(draws: Draws, count: int) -> bool:
    """Return true once in `count` times."""
    return draws.integer(0, count - 1) == count - 1
