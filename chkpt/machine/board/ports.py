"""The I/O ports: 65,536 addresses, each of one device at most. If there is none, the bus floats high."""

from collections.abc import Callable, Sequence

from chkpt.device import Port
from chkpt.machine.board.guest_requests import Requests

Read = Callable[[], int]
Write = Callable[[int], None]


class PortBus:
    """Routes each access to the device that has the port.

    There is one table for each width and direction, so that an access is one look-up and one call. A reset that a
    device requests during a write happens after the write.
    """

    __slots__ = (
        "_byte_only",
        "_read",
        "_read_word",
        "_requests",
        "_write",
        "_write_word",
        "block_reads",
        "block_writes",
    )

    def __init__(self, requests: Requests | None = None) -> None:
        self._requests = requests or Requests(lambda: None)
        self._read: dict[int, Read] = {}
        self._write: dict[int, Write] = {}
        self._read_word: dict[int, Read] = {}
        self._write_word: dict[int, Write] = {}
        self._byte_only: set[int] = set()
        self.block_reads: dict[int, Callable[[int, int], bytes]] = {}
        self.block_writes: dict[int, Callable[[bytes, int], int]] = {}

    def map(self, first: int, ports: Sequence[Port]) -> Callable[[], None]:
        """Route `first`, `first + 1`, ... to `ports`; return a function that ends this. No port may have an owner."""
        for number, port in enumerate(ports, first):
            if port.read is not None:
                self._read[number] = port.read
            if port.write is not None:
                self._write[number] = port.write
            if port.read_word is not None:
                self._read_word[number] = port.read_word
            if port.write_word is not None:
                self._write_word[number] = port.write_word
            if port.byte_only:
                self._byte_only.add(number)
            if port.read_block is not None:
                self.block_reads[number] = port.read_block
            if port.write_block is not None:
                self.block_writes[number] = port.write_block

        def unmap() -> None:
            for number in range(first, first + len(ports)):
                for table in (self._read, self._write, self._read_word, self._write_word):
                    table.pop(number, None)
                self._byte_only.discard(number)
                self.block_reads.pop(number, None)
                self.block_writes.pop(number, None)

        return unmap

    def answers(self, port: int) -> tuple[bool, bool]:
        """Return whether a device answers reads of `port`, and whether one answers writes."""
        return port in self._read or port in self._read_word, port in self._write or port in self._write_word

    def inb(self, port: int) -> int:
        """Read 8 bits."""
        try:
            read = self._read[port]
        except KeyError:
            return 0xFF
        return read()

    def outb(self, port: int, value: int) -> None:
        """Write the low 8 bits of `value`."""
        try:
            write = self._write[port]
        except KeyError:
            return
        write(value & 0xFF)
        if self._requests.reset_pending:
            self._requests.settle()

    def inw(self, port: int) -> int:
        """Read 16 bits; if the device is 8 bits wide, from two ports, the low byte first."""
        read = self._read_word.get(port)
        if read is not None:
            return read()
        return self._split_inb(port) | self._split_inb((port + 1) & 0xFFFF) << 8

    def outw(self, port: int, value: int) -> None:
        """Write the low 16 bits of `value`."""
        write = self._write_word.get(port)
        if write is not None:
            write(value & 0xFFFF)
            if self._requests.reset_pending:
                self._requests.settle()
            return
        self._split_outb(port, value)
        self._split_outb((port + 1) & 0xFFFF, value >> 8)

    def _split_inb(self, port: int) -> int:
        """Read a byte for a wider access."""
        return 0xFF if port in self._byte_only else self.inb(port)

    def _split_outb(self, port: int, value: int) -> None:
        """Write a byte of a wider access."""
        if port not in self._byte_only:
            self.outb(port, value)

    def inl(self, port: int) -> int:
        """Read 32 bits: two words of one 16-bit port, or bytes of four ports."""
        read = self._read_word.get(port)
        if read is not None:
            return read() | read() << 16
        return self.inw(port) | self.inw((port + 2) & 0xFFFF) << 16

    def outl(self, port: int, value: int) -> None:
        """Write the low 32 bits of `value`."""
        write = self._write_word.get(port)
        if write is not None:
            write(value & 0xFFFF)
            write(value >> 16 & 0xFFFF)
            if self._requests.reset_pending:
                self._requests.settle()
            return
        self.outw(port, value)
        self.outw((port + 2) & 0xFFFF, value >> 16)

    def read_block(self, port: int, width: int, count: int) -> bytes:
        """Do up to `count` reads of `width` bytes, those that only return data; return their data."""
        read = self.block_reads.get(port)
        return b"" if read is None else read(count, width)

    def write_block(self, port: int, width: int, data: bytes) -> int:
        """Write `data` in units of `width` bytes, as many as the device only stores; return their number."""
        write = self.block_writes.get(port)
        return 0 if write is None else write(data, width)
