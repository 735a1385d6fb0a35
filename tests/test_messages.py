"""The wording of every message is in a golden file, so that a change of it is seen in a review."""

import pytest

from tests.support.wording import GOLDEN, PACKAGES, golden, messages


@pytest.mark.parametrize("package", PACKAGES)
def test_the_golden_file_is_what_the_source_says(package: str) -> None:
    file = GOLDEN / f"{package}.txt"
    text = golden(package)
    assert (file.read_text() if file.exists() else "") == text, (
        "the wording has changed: look at it, then `make messages`"
    )


def test_each_golden_file_is_of_a_package() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} <= set(PACKAGES)


def test_a_message_is_found_in_each_of_its_forms() -> None:
    source = """
log.warning("%s: skipped: %s", name, reason)
raise StateError(f"{path} is {value!r}, not {name}" + hint, where=path)
raise ValueError("not ours")
raise ConfigError(text)
"""
    assert list(messages(source)) == [
        "log warning: %s: skipped: %s",
        "StateError: {path} is {value}, not {name}{hint}",
    ]


def test_no_message_is_lost_among_those_of_all_packages() -> None:
    assert sum(text.count("Error: ") for text in map(golden, PACKAGES)) > 300
