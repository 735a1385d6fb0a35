"""The wording of all messages, taken from the source: errors and log lines, one golden file a package.

A golden file shows a change of wording in a review, and tests need not repeat whole sentences: they match the class and
the decisive word. `make messages` (`python -m tests.support.wording`) writes the files.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chkpt import errors

ROOT: Final = Path(__file__).parents[2]
GOLDEN: Final = ROOT / "tests" / "messages"
ERRORS: Final = {name for name, value in vars(errors).items() if isinstance(value, type)}
LEVELS: Final = {f"log.{level}" for level in ("debug", "info", "warning", "error", "exception")}
PACKAGES: Final = {
    **{f"chkpt.{path.parent.name}": path.parent for path in sorted((ROOT / "chkpt").glob("*/__init__.py"))},
    "chkpt": ROOT / "chkpt",
    "chkpt_devices": ROOT / "devices" / "chkpt_devices",
}


def text_of(node: ast.expr) -> str | None:
    """Return the text that an expression makes, with its parts as `{expression}`; None if it is not a text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(filter(None, map(text_of, node.values)))
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        if left is not None or right is not None:
            return f"{left or f'{{{ast.unparse(node.left)}}}'}{right or f'{{{ast.unparse(node.right)}}}'}"
    return None


def messages(source: str) -> Iterator[str]:
    """Yield the messages in a source, in their order: `Class: text`, or `log level: text`."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = ast.unparse(node.func)
        kind = name if name in ERRORS else f"log {name[4:]}" if name in LEVELS else ""
        text = text_of(node.args[0])
        if kind and text is not None:
            yield f"{kind}: {text}"


def golden(package: str) -> str:
    """Return what the golden file of a package holds."""
    folder = PACKAGES[package]
    files = sorted(folder.glob("*.py")) if package == "chkpt" else sorted(folder.rglob("*.py"))
    lines: list[str] = []
    for file in files:
        found = sorted(messages(file.read_text()))
        if found:
            lines += [f"# {file.relative_to(ROOT).as_posix()}", *(line.replace("\n", "\\n") for line in found), ""]
    return "\n".join(lines)


def write() -> None:
    """Write every golden file, and remove those of packages that are gone or say nothing."""
    texts = {package: golden(package) for package in PACKAGES}
    for file in GOLDEN.glob("*.txt"):
        file.unlink()
    for package, text in texts.items():
        if text:
            (GOLDEN / f"{package}.txt").write_text(text)


if __name__ == "__main__":
    write()
