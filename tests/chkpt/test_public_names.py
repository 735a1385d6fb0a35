"""What `import chkpt` gives, and no more."""

import subprocess
import sys

import chkpt
from chkpt import errors

NAMES = """
Blob Checkpoint ChkptError ConfigError ConflictError Context CorruptError DeviceError DeviceManager DeviceTypes
ExistsError HalfLoadedError KeyFileError LimitError LoadError LoadReport LocalStore Machine MachineConfig NoMachineError
NotFoundError Reader RefusedError SaveError SaveReport SealedError SignatureError Skip SparseBlob StateError
StorageError Store StrictError UsageError VersionError blob_bytes dump dumps load loads
"""


def test_the_public_names_are_these() -> None:
    assert sorted(chkpt.__all__) == sorted(NAMES.split())


def test_every_error_of_the_tree_is_public() -> None:
    tree = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}
    assert tree <= set(chkpt.__all__)


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in chkpt.__all__ if getattr(chkpt, name, None) is None] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(chkpt, "Pickle")


def test_import_chkpt_alone_imports_no_library() -> None:
    code = (
        "import sys, chkpt; print([name for name in ('msgpack', 'zstandard', 'typer', 'rich') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
