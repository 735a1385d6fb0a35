"""What a run of the fuzzer was is written down, and is known to be of other code once the code has changed."""

from pathlib import Path

import pytest

from tests.lab.fuzz import results
from tests.lab.fuzz.results import Result, Run

RUN = Run("kept", 60, 1, ("codec",), "digest", ended=True, results=(Result("codec", 60, 5, 4, 3, 2, 1, ("a",)),))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in results.SOURCES:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.py").write_text(name)
    return tmp_path


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    results.write(tmp_path, RUN)
    assert results.read(tmp_path) == RUN


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"target": "codec"}]', '{"results": [{}]}'])
def test_results_in_another_form_are_none(tmp_path: Path, text: str) -> None:
    assert results.read(tmp_path) is None
    (tmp_path / results.FILE).write_text(text)
    assert results.read(tmp_path) is None


@pytest.mark.parametrize("name", results.SOURCES)
def test_the_digest_is_of_every_file_its_name_and_its_content(root: Path, name: str) -> None:
    found = {results.digest(root)}
    (root / name / "a.py").write_text("changed")
    found.add(results.digest(root))
    (root / name / "a.py").rename(root / name / "b.py")
    found.add(results.digest(root))
    (root / name / "new").mkdir()
    (root / name / "new" / "a.toml").write_text("")
    found.add(results.digest(root))
    assert len(found) == 4


def test_what_python_makes_of_the_code_and_the_kept_inputs_are_no_code(root: Path) -> None:
    before = results.digest(root)
    (root / "tests/lab/fuzz" / results.INPUTS).write_bytes(b"1")
    (root / "chkpt" / "__pycache__").mkdir()
    (root / "chkpt" / "__pycache__" / "a.pyc").write_bytes(b"1")
    assert results.digest(root) == before


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        results.locked(tmp_path / "f", wait=False),
        pytest.raises(BlockingIOError),
        results.locked(tmp_path / "f", wait=False),
    ):
        pass
    with results.locked(tmp_path / "f", wait=False):
        pass
