"""One command of a conversation, read: what it accesses, and with which value."""

from dataclasses import dataclass
from functools import lru_cache

DATA_PORT = 0x1F0
"""The ATA channel's 16-bit data register."""

WORDS = {"inw": 1, "outw": 1, "inl": 2, "outl": 2, "inb": 1}
"""How many words a plain command moves through the data register; a byte takes a whole word with it."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command in its parts. `port` is -1 and `value` 0 where it has none."""

    text: str
    verb: str
    port: int = -1
    value: int = 0  # what is written; the nanoseconds of a step; the level of a pin
    line: int = -1  # the interrupt line that is driven from outside
    words: int = 0  # moved through the ATA channel's data register

    @property
    def reads(self) -> bool:
        """Whether it reads a port once."""
        return self.verb in {"inb", "inw", "inl"}

    @property
    def writes(self) -> bool:
        """Whether it writes a port once."""
        return self.verb in {"outb", "outw", "outl"}


@lru_cache(maxsize=4096)
def parsed(text: str) -> Command:
    """Read a command as a trace writes it. Raise ValueError or IndexError for what is none."""
    verb, *words = text.split(" ")
    if verb == "clock_step":
        return Command(text, verb, value=int(words[0], 0))
    if verb == "set_irq_in":
        base = {"pic0": 0, "pic1": 8}[words[0]]
        return Command(text, verb, value=int(words[3], 0), line=base + int(words[2], 0))
    if verb.startswith("irq_intercept"):
        return Command(text, verb)
    port = int(words[0], 0)
    if verb in {"insw", "outsw"}:
        return Command(text, verb, port, words=int(words[1]))
    value = int(words[1], 0) if verb.startswith("out") else 0
    return Command(text, verb, port, value, words=WORDS.get(verb, 0) if port == DATA_PORT else 0)
