"""A device with a hole, for the prover to find: no field of its state tells whether a byte waits. docs/PROVE.md."""

# ruff: noqa: D101, D102  docs/PROVE.md tells what it is
from dataclasses import dataclass
from typing import ClassVar

from chkpt.device import U8, U16, DeviceType, Host, Port


@dataclass(frozen=True, slots=True)
class MailboxState:
    VERSION: ClassVar[int] = 1

    data: U8


@dataclass(frozen=True, slots=True)
class MailboxConfig:
    port: U16 = 0x300


class Mailbox:
    """A byte at `port`, and at the port after it whether one has been written since it was last read."""

    def __init__(self, host: Host, config: MailboxConfig) -> None:
        host.claim_ports(config.port, [Port(read=self._read, write=self._write), Port(read=lambda: int(self._full))])
        self.reset()

    def reset(self) -> None:
        self._data = 0
        self._full = False

    def save(self) -> MailboxState:
        return MailboxState(self._data)

    def load(self, state: MailboxState) -> None:
        self._data = state.data

    def _read(self) -> int:
        self._full = False
        return self._data

    def _write(self, value: int) -> None:
        self._data = value
        self._full = True


MAILBOX = DeviceType("mailbox", Mailbox, MailboxConfig, MailboxState)
