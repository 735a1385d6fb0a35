"""The pages can be read on a terminal, their links lead somewhere, and the files that they name exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FOLDERS = ("chkpt", "devices", "chkpt_devices", "docs", "examples", "tests")
PLACES = (ROOT, ROOT / "devices", ROOT / "devices" / "chkpt_devices")

every_page = pytest.mark.parametrize("page", PAGES, ids=IDS)


def anchor(heading: str) -> str:
    """Return the name that a heading has in a link."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@every_page
def test_lines_have_120_characters_at_most(page: Path) -> None:
    long = [
        f"{number}: {len(line)}"
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > 120 and not line.startswith("|")
    ]
    assert long == []


@every_page
def test_cells_of_tables_have_300_characters_at_most(page: Path) -> None:
    cells = [cell for line in page.read_text().splitlines() if line.startswith("|") for cell in line.split("|")]
    assert [cell for cell in cells if len(cell) > 300] == []


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http:", "https:")):
            continue
        path, _, heading = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        if heading:
            assert heading in [anchor(found) for found in HEADING.findall(linked.read_text())], target


@every_page
def test_every_file_that_is_named_exists(page: Path) -> None:
    folders = "|".join(FOLDERS)
    for name in re.findall(rf"`((?:{folders})/[\w./-]*(?:\.\w+|/))`", prose(page)):
        assert any((place / name).exists() for place in PLACES), name


def test_the_index_names_every_page() -> None:
    linked = set(re.findall(r"\]\(([^)\s#]+)\)", (ROOT / "docs" / "README.md").read_text()))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= linked
