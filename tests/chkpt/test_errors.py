"""The error tree: as drawn in its docstring, with the exit statuses of the command line."""

import inspect
import re

import pytest

from chkpt import errors
from chkpt.errors import ChkptError

CLASSES = {name: each for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, ChkptError)}
LINE = re.compile(r"^ {4}(?P<lead>[ │├└─]*)(?P<name>[A-Za-z]+Error) +(?P<rest>.*)$", re.MULTILINE)


def drawn() -> dict[str, tuple[str | None, int | None]]:
    """Return the parent and the exit status of each class as the docstring draws them."""
    tree: dict[str, tuple[str | None, int | None]] = {}
    above: list[str] = []
    for line in LINE.finditer(errors.__doc__ or ""):
        depth = len(line["lead"]) // 4
        del above[depth:]
        status = re.match(r"(\d)\s", line["rest"])
        tree[line["name"]] = (above[-1] if above else None, int(status[1]) if status else None)
        above.append(line["name"])
    return tree


def test_the_docstring_draws_every_class_under_its_parent() -> None:
    parents = {name: parent for name, (parent, _) in drawn().items()}
    assert parents == {
        name: None if each is ChkptError else each.__bases__[0].__name__ for name, each in CLASSES.items()
    }


def test_the_docstring_gives_the_exit_statuses_and_the_rest_inherit_them() -> None:
    for name, (parent, status) in drawn().items():
        expected = status if status is not None else CLASSES[parent or name].exit_status
        assert CLASSES[name].exit_status == expected, name


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("ChkptError", 1),
        ("UsageError", 2),
        ("ConfigError", 2),
        ("NotFoundError", 3),
        ("CorruptError", 4),
        ("VersionError", 4),
        ("StrictError", 4),
        ("NoMachineError", 5),
        ("ExistsError", 1),
        ("LoadError", 1),
        ("StorageError", 1),
    ],
)
def test_the_exit_statuses_are_those_of_the_command_line(name: str, status: int) -> None:
    assert CLASSES[name].exit_status == status


def test_every_error_is_caught_as_the_root_and_none_as_something_of_python_s() -> None:
    for each in CLASSES.values():
        assert issubclass(each, ChkptError)
        assert not issubclass(each, (OSError, ValueError, LookupError, RuntimeError))
        assert each.__doc__
