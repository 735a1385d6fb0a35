"""If the host refuses the engine its address space, an error says so before the library ends the process."""

import subprocess
import sys

import pytest

from chkpt.errors import ConfigError
from chkpt.machine import Machine, cpu
from chkpt.machine.config import parse

CODE = """
import resource
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
from chkpt.cli import main
main(["run", "machine.toml", "--until", "+1"])
"""


def test_a_limit_below_what_the_engine_takes_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path_factory.mktemp("m")
    (place / "machine.toml").write_text('memory = "1M"\n[cpu]\nmodel = "unicorn"\n')
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    ended = subprocess.run(
        [sys.executable, "-c", CODE.format(limit=cpu.CODE_SIZE)], check=False, capture_output=True, text=True, cwd=place
    )
    assert ended.returncode == 1, ended
    assert ended.stderr.startswith("chkpt: machine.toml: cpu: unicorn needs 1088 MiB of address space"), ended
    assert ended.stderr.count("\n") == 1
    assert "ulimit -v" in ended.stderr


def test_a_library_that_cannot_be_loaded_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> object:
        raise ImportError("Failed to load the Unicorn dynamic library")

    monkeypatch.setattr(cpu, "import_module", fails)
    with pytest.raises(ConfigError, match=r"cannot be used: Failed to load .*; install it again"):
        Machine(parse({"memory": "1M", "cpu": {"model": "unicorn"}}))
