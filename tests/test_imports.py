"""A test imports no other test, and from another folder only what all folders share."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
USERS = ("tests", "examples")
SHARED = ("tests.support", "tests.guests", "tests.attacks", "tests.snapshots", "tests.lab")
"""What every folder uses: helpers, guests, hostile files, kept snapshots, and the programs of the lab."""


def imported(source: str) -> Iterator[str]:
    """Yield the modules below `tests` that a source imports; `from folder import module` names the module."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            within = node.module or ""
            names = [f"{within}.{alias.name}" for alias in node.names] if is_folder(within) else [within]
        yield from (name for name in names if name.split(".", maxsplit=1)[0] == "tests")


def is_folder(module: str) -> bool:
    """Return whether a name is a folder without code of its own."""
    folder = ROOT.joinpath(*module.split("."))
    return folder.is_dir() and not (folder / "__init__.py").exists()


def fault(user: str, module: str) -> str:
    """Return what is wrong with the import of a module of the tests by the module `user`, or nothing."""
    folder, _, name = module.rpartition(".")
    if name == "conftest" or name.startswith("test_"):
        return f"{user} imports {module}, which has tests or fixtures of its own: move the helper out of it"
    within = user.rpartition(".")[0]
    if module.startswith(SHARED) or user.startswith(f"{folder}.") or folder.startswith(f"{within}."):
        return ""
    return f"{user} imports {module} from another folder: move it to tests/support"


def test_no_test_module_is_imported_and_what_folders_share_is_in_support() -> None:
    found = [
        fault(".".join(path.relative_to(ROOT).with_suffix("").parts), module)
        for folder in USERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for module in imported(path.read_text())
    ]
    assert len(found) > 200
    assert [each for each in found if each] == []


@pytest.mark.parametrize(
    ("user", "source"),
    [
        ("tests.a.test_one", "from tests.a.test_two import helper"),
        ("tests.a.test_one", "from tests.a.conftest import fixture"),
        ("tests.a.test_one", "def test() -> None:\n    import tests.a.test_two"),
        ("tests.devices.test_one", "from tests.devices import test_pic"),
        ("tests.a.test_one", "from tests.b.helpers import helper"),
        ("tests.lab.fuzz.corpus", "from tests.b.helpers import helper"),
    ],
)
def test_an_import_of_a_test_or_out_of_another_folder_is_found(user: str, source: str) -> None:
    assert [fault(user, module) for module in imported(source)] != [""]


@pytest.mark.parametrize(
    ("user", "source"),
    [
        ("tests.a.test_one", "from tests.a.helpers import helper"),
        ("tests.a.deep.test_one", "from tests.a.helpers import helper"),
        ("tests.a.test_one", "from tests.support.rig import rig"),
        ("tests.a.test_one", "from tests.guests import demo"),
        ("tests.lab.fuzz.corpus", "from tests.support.checkpoints import small"),
    ],
)
def test_an_import_of_a_helper_is_none(user: str, source: str) -> None:
    assert [fault(user, module) for module in imported(source)] == [""]


def test_only_the_codec_names_zstandard_and_msgpack() -> None:
    """The contract of import-linter sees import statements; this sees a name given to `import_module`, too."""
    libraries = {"zstandard", "msgpack"}
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("chkpt", "devices")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Constant) and node.value in libraries)
        or (isinstance(node, ast.Import) and libraries & {alias.name.partition(".")[0] for alias in node.names})
        or (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in libraries)
    }
    assert found == {"chkpt/snapshot/codec.py"}


def test_a_device_imports_of_chkpt_only_what_a_third_party_may() -> None:
    """A closed list, which the contract of import-linter cannot have."""
    modules = {
        module
        for path in (ROOT / "devices" / "chkpt_devices").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if module.partition(".")[0] == "chkpt"
    }
    assert modules == {"chkpt.device", "chkpt.errors", "chkpt.grammar"}


SHARED_NAMES = {
    "check": "whether a checkpoint can be written, and whether a snapshot is whole",
    "compat": "whether a snapshot can be loaded, and its command",
    "contract": "the contract of a processor, and of a store",
    "device": "the contract of a device, and its tests",
    "diff": "what differs between two snapshots, and its command",
    "fields": "what a field may hold: of a state, and of a request",
    "host": "what a device gets of its machine, and the device manager's side of it",
    "load": "a load, and its command",
    "media": "the media of drives: of a machine, of a service, and the command",
    "report": "what a proof says: of devices, and of the processor",
    "save": "a save by the service, and its command",
    "sign": "to sign a snapshot, and its command",
    "store": "the package, and the tests of its contract",
    "trace": "recorded conversations, and the demo of one",
    "types": "what a type of device or backend is, and the tables of types",
    "until": "a run to a goal: the service's side, and the command's",
}
"""Names that more than one module of chkpt has, each with the one meaning that all of them have."""


def test_modules_of_one_name_have_one_meaning() -> None:
    names = [path.stem.rstrip("_") for path in (ROOT / "chkpt").rglob("*.py") if not path.stem.startswith("__")]
    shared = {name for name in names if names.count(name) > 1}
    assert shared <= set(SHARED_NAMES)
