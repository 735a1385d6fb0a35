"""One line of the table: a promise, how it was tried to break it, and the outcome."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome of one kind of fault or input. Every text is one line of Markdown.

    Args:
        promise: what chkpt promises, as a statement that can be false.
        tried: how it was tried, in a few words: the fault, or the source of the inputs.
        count: how many faults were injected or inputs tried, counted during the run.
        outcome: the outcomes; also what was not tried, and why.
        held: whether the promise held each time. If not, `make reliability` fails.
        firecracker: what Firecracker promises for the same, with its source; a dash if it says nothing.
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
        """Raise ValueError if a text would break the table."""
        for text in (self.promise, self.tried, self.outcome, self.firecracker, self.qemu, self.restic):
            if not text or "\n" in text:
                raise ValueError(f"one line of text was expected, not {text!r}")
