"""The recipes work as shown: in CI, on another host, over ssh, under systemd."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import other_host
from tests.support.pages import BIN, ROOT, files, play

PAGE = ROOT / "docs" / "HOWTO.md"
UNIT = "~/.config/systemd/user/chkpt@.service"


@pytest.fixture
def machine() -> str:
    """Give the machine of the tutorial."""
    pytest.importorskip("unicorn", reason="the machine has a processor")
    return files(ROOT / "docs" / "TUTORIAL.md")["pc.toml"]


def test_every_command_does_what_is_shown(tmp_path: Path, machine: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    pytest.importorskip("cryptography", reason="a recipe signs")
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (here / "pc.toml").write_text(machine)
    other_host.install(there, tmp_path / "bin")
    (there / "pc.toml").write_text(machine)
    environment = {**other_host.environment(there), "PATH": f"{BIN}:{os.environ['PATH']}"}
    remote = subprocess.Popen(["chkpt", "run", "pc.toml"], cwd=there, env=environment, stdout=subprocess.PIPE)
    try:
        assert remote.stdout is not None
        remote.stdout.readline()
        typed = play(PAGE, here, tmp_path / "bin")
        assert remote.poll() is None  # the other host's machine has outlived the forwarding
    finally:
        remote.terminate()
        remote.communicate()
    assert len(typed) > 20


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")
def test_ssh_understands_the_options(tmp_path: Path) -> None:
    command = files(PAGE)["forward.sh"].partition("ssh ")[2].replace("\\\n", "")
    words = shlex.split(command.replace("$here", "/run/user/1/chkpt").replace("$there", "/run/user/1000/chkpt"))
    run = subprocess.run(
        ["ssh", "-G", "-F", os.devnull, *words], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert "localforward /run/user/1/chkpt/pc/api.sock /run/user/1000/chkpt/pc/api.sock" in run.stdout
    assert "exitonforwardfailure yes" in run.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "chkpt@.service"
    unit.write_text(files(PAGE)[UNIT])
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    run = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(unit)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_the_unit_saves_the_machine_when_it_is_stopped_and_begins_from_there(tmp_path: Path, machine: str) -> None:
    (tmp_path / "pc.toml").write_text(machine)
    (tmp_path / "run").mkdir(mode=0o700)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "run"), "PATH": f"{BIN}:{os.environ['PATH']}"}
    unit = files(PAGE)[UNIT].replace("%i", "pc")
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    stops = re.findall(r"^ExecStop=(.*)$", unit, re.MULTILINE)
    begun, saved = [], []
    for _ in range(2):
        running = subprocess.Popen(shlex.split(start), cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
        try:
            assert running.stdout is not None
            running.stdout.readline()
            begun.append("--load" in Path(f"/proc/{running.pid}/cmdline").read_text().split("\0"))
            for stop in stops:
                run = subprocess.run(
                    shlex.split(stop), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                )
                assert run.returncode == 0, run.stderr
                saved += re.findall(r"^saved machine pc at", run.stdout)
            assert running.wait(30) == 0
        finally:
            running.kill()
            running.communicate()
    assert begun == [False, True]
    assert len(saved) == 2


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text()))))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (PAGE.parent / target).exists()
