"""The error tree: as drawn in its docstring, with the exit statuses of the command line."""

import inspect
import pickle
import re
from pathlib import Path

import pytest

import chkpt
from chkpt import errors
from chkpt.errors import (
    ChkptError,
    ConfigError,
    CorruptError,
    NotFoundError,
    RefusedError,
    StateError,
    UsageError,
    naming,
)
from chkpt.machine.config import read
from chkpt.seal.keys import secret_key

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


def test_every_error_of_the_tree_is_public() -> None:
    assert set(CLASSES) <= set(chkpt.__all__)


@pytest.mark.parametrize(
    ("error", "text", "where"),
    [
        (StateError("too long"), "too long", ""),
        (StateError("is 7", subject="devices/pit.count"), "devices/pit.count is 7", "devices/pit.count"),
        (StateError("not TOML", where="a.toml"), "a.toml: not TOML", "a.toml"),
        (StateError("is 7", where="a", subject="pit.count"), "a: pit.count is 7", "a: pit.count"),
        (StateError("is 7", subject="pit.count").within("a"), "a: pit.count is 7", "a: pit.count"),
        (StateError("too long").within("a", advice="get another"), "a: too long; get another", "a"),
        (StateError("too long", where="a").within("a"), "a: too long", "a"),
        (StateError("is 7", where="a", subject="b").within("a"), "a: b is 7", "a: b"),
        (StateError("a: by hand").within("a"), "a: by hand", "a"),
    ],
)
def test_an_error_has_its_place_in_the_text_and_as_a_field(error: ChkptError, text: str, where: str) -> None:
    assert (str(error), error.where) == (text, where)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.where) == (StateError, text, where)


def test_naming_adds_a_file_to_the_errors_of_its_kinds_and_to_no_other() -> None:
    with pytest.raises(CorruptError, match=r"^a\.chkpt: pit has version 0; copy it again$") as caught:  # noqa: SIM117
        with naming("a.chkpt", RefusedError, advice="copy it again"):
            raise CorruptError("has version 0", subject="pit")
    assert caught.value.where == "a.chkpt: pit"
    assert isinstance(caught.value.__cause__, CorruptError)
    for other in (UsageError("no such option"), OSError("no such file")):
        with pytest.raises(type(other), match=r"^no such") as raised, naming("a.chkpt", RefusedError):
            raise other
        assert raised.value is other


def test_a_faulty_state_configuration_and_file_name_the_place_as_a_field(tmp_path: Path) -> None:
    faulty, missing = tmp_path / "faulty.toml", tmp_path / "missing.toml"
    faulty.write_text('[[device]]\ntype = "serial"\nbackend = 7\n')
    with pytest.raises(ConfigError, match="backend is not a table") as of_config:
        read(faulty)
    assert of_config.value.where == f"{faulty}: device serial"
    with pytest.raises(NotFoundError) as of_missing:
        read(missing)
    assert of_missing.value.where == str(missing)

    machine, checkpoint = chkpt.Machine(), chkpt.Checkpoint()
    machine.save(checkpoint)
    del checkpoint.contexts["clock"].values["now"]
    with pytest.raises(StateError) as of_state:
        machine.load(checkpoint)
    assert of_state.value.where == "clock.now"
    machine.close()

    snapshot = tmp_path / "short.chkpt"
    snapshot.write_bytes(chkpt.dumps(checkpoint)[:-9])
    with pytest.raises(CorruptError) as of_snapshot:
        chkpt.Reader.open(snapshot)
    assert of_snapshot.value.where.startswith(f"{snapshot}: the trailer at offset ")
    assert str(of_snapshot.value).startswith(f"{of_snapshot.value.where}: ")


def test_a_missing_key_and_a_missing_snapshot_of_a_store_name_the_place_as_a_field(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such key file") as of_key:
        secret_key(tmp_path / "key")
    assert of_key.value.where == str(tmp_path / "key")
    with pytest.raises(NotFoundError, match="no snapshot named") as of_snapshot:
        chkpt.LocalStore(tmp_path).open("missing")
    assert of_snapshot.value.where == str(tmp_path)
