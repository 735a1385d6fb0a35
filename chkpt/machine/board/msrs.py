"""The model-specific registers of devices."""

from collections.abc import Callable

from chkpt.errors import NotFoundError

Read = Callable[[int], int]
Write = Callable[[int, int], None]


class MsrBus:
    """Routes each access to the device that has the register."""

    def __init__(self) -> None:
        self._msrs: dict[int, tuple[Read, Write]] = {}

    def map(self, first: int, count: int, read: Read, write: Write) -> Callable[[], None]:
        """Route `count` registers from `first`; return a function that ends this. None of them may have an owner."""
        numbers = range(first, first + count)
        self._msrs.update(dict.fromkeys(numbers, (read, write)))

        def unmap() -> None:
            for number in numbers:
                del self._msrs[number]

        return unmap

    def rdmsr(self, msr: int) -> int:
        """Read a register. Raise NotFoundError if no device has it: a processor then raises #GP."""
        return self._find(msr)[0](msr)

    def wrmsr(self, msr: int, value: int) -> None:
        """Write the low 64 bits of `value` to a register. Raise NotFoundError if no device has it."""
        self._find(msr)[1](msr, value & 0xFFFF_FFFF_FFFF_FFFF)

    def _find(self, msr: int) -> tuple[Read, Write]:
        try:
            return self._msrs[msr]
        except KeyError:
            raise NotFoundError(f"no device has MSR {msr:#x}") from None
