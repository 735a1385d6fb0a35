"""Assemble our guests: `python -m tests.guests.build` writes each .bin beside its .asm. Needs nasm."""

import subprocess
from pathlib import Path

HERE = Path(__file__).parent
BUILT_IN = HERE.parents[1] / "devices" / "guests"


def sources() -> list[Path]:
    return [*sorted(HERE.glob("*.asm")), *sorted(BUILT_IN.glob("*.asm"))]


def assembled(source: Path, nasm: str) -> bytes:
    """Return the bytes of one source."""
    target = source.with_suffix(".tmp")
    try:
        subprocess.run([nasm, "-f", "bin", "-o", str(target), str(source)], check=True)
        return target.read_bytes()
    finally:
        target.unlink(missing_ok=True)


def main() -> None:
    for source in sources():
        source.with_suffix(".bin").write_bytes(assembled(source, "nasm"))


if __name__ == "__main__":
    main()
