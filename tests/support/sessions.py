"""Sessions in the documents: what is typed after `$ `, and below it what is seen."""

import re


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Return each command of a session with the output lines below it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def fits(wanted: list[str], output: str) -> bool:
    """Tell whether the output is the one shown; `...` stands for anything, a line of its own for any lines."""
    lines = [r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n" for line in wanted]
    return re.fullmatch("".join(lines), output) is not None
