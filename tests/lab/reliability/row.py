"""One line of the table: a promise, what was done to break it, and what came of that."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of fault or input showed. Every text is one line of Markdown.

    Args:
        promise: what chkpt promises, as a statement that can be false.
        tried: how it was tried, in a few words: the fault, or where the inputs come from.
        count: how many faults were injected or inputs tried; counted while it ran, not what was planned.
        outcome: what came of them; what was not tried, and why, if anything was not.
        held: whether the promise held each time. `make reliability` fails where one did not.
        firecracker: what Firecracker promises for the same, with its source; a dash where it says nothing.
        qemu: the same of QEMU.
        restic: the same of restic.
    """

    promise: str
    tried: str
    count: int
    outcome: str
    held: bool
    firecracker: str = "-"
    qemu: str = "-"
    restic: str = "-"

    def __post_init__(self) -> None:
        """Raise ValueError where a text would break the table."""
        for text in (self.promise, self.tried, self.outcome, self.firecracker, self.qemu, self.restic):
            if not text or "\n" in text:
                raise ValueError(f"one line of text was expected, not {text!r}")
