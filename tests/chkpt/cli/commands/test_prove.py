"""`chkpt prove` as a user calls it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
CHKPT = Path(sys.executable).parent / "chkpt"
BROKEN = """
from chkpt.device import DeviceType
from examples.mailbox import Mailbox, MailboxConfig, MailboxState
NOT_A_TYPE = 3
"""
TOML = '[[device]]\ntype = "pic"\n[[device]]\ntype = "serial"\nname = "com1"\n'


def chkpt(*args: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CHKPT, "prove", *args], cwd=cwd, capture_output=True, text=True, check=False)


def test_a_good_device_ends_with_0_and_shows_what_was_reached() -> None:
    done = chkpt("serial", "--runs", "4")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("4 runs, ")
    assert lines[0].endswith("seed 0")
    assert any(line.startswith("serial: registers 14 of 14, fields ") for line in lines)
    assert lines[-1] == "no guest could tell"


def test_a_hole_ends_with_1_and_the_transcript_can_be_replayed(tmp_path: Path) -> None:
    transcript = tmp_path / "hole.txt"
    done = chkpt("examples.mailbox:MAILBOX", "--transcript", transcript)
    assert (done.returncode, done.stderr) == (1, "")
    assert "mailbox._full: True, restored False" in done.stdout
    assert transcript.read_text() in done.stdout
    again = chkpt("examples.mailbox:MAILBOX", "--replay", transcript)
    assert again.returncode == 1
    assert "0x1 in the machine that went on" in again.stdout


def test_a_transcript_of_installed_devices_needs_no_type(tmp_path: Path) -> None:
    transcript = tmp_path / "t.txt"
    table = {"device": [{"type": "serial", "name": "com1"}]}
    transcript.write_text(f"# machine: {json.dumps(table)}\n> outb 0x3ff 0x5a\n# cut\n> inb 0x3ff\n")
    done = chkpt("--replay", transcript)
    assert (done.returncode, done.stdout) == (0, "no guest could tell\n")
    assert json.loads(chkpt("--replay", transcript, "--json").stdout) == {"divergence": None}


def test_the_processor_is_proved_with_programs() -> None:
    pytest.importorskip("unicorn", reason="the extra guest is not installed")
    done = chkpt("cpu", "--runs", "3")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert re.match(r"3 programs, 2[0-4] cuts and loads in ", lines[0])  # a cut behind the last instruction is none
    assert lines[-1] == "no guest could tell"
    plain = json.loads(chkpt("cpu", "--runs", "3", "--seed", "5", "--json").stdout)
    assert (plain["programs"], plain["seed"], plain["finding"]) == (3, 5, None)
    assert {"rip", "rax"} <= {*plain["reached"]}
    assert (json.loads(chkpt("cpu", "--seconds", "0", "--json").stdout))["programs"] == 0


def test_a_proof_of_the_processor_has_no_transcript(tmp_path: Path) -> None:
    done = chkpt("cpu", "--transcript", tmp_path / "t.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("chkpt: a proof of the processor has no transcript")


def test_a_machine_is_proved_from_its_toml(tmp_path: Path) -> None:
    (tmp_path / "machine.toml").write_text(TOML)
    done = chkpt("machine.toml", "--runs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "com1: registers" in done.stdout


def test_json_has_all_results() -> None:
    found = json.loads(chkpt("examples.mailbox:MAILBOX", "--json", "--seed", "6").stdout)
    assert found["seed"] == 6
    assert found["finding"]["divergence"]["what"] == "answer"
    assert found["finding"]["divergence"]["attributes"][0]["path"] == "_full"
    assert found["finding"]["transcript"].splitlines()[1] == "> outb 0x300 0x0"
    good = json.loads(chkpt("examples.scratchpad:SCRATCHPAD", "--json", "--runs", "2").stdout)
    assert good["finding"] is None
    assert {each["device"] for each in good["reach"]} == {"pic", "scratchpad"}


def test_no_run_begins_after_the_seconds_given() -> None:
    assert chkpt("serial", "--seconds", "0").stdout.startswith("0 runs, 0 steps")


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        ((), 2, "name a device type"),
        (("serail",), 3, "did you mean serial?"),
        (("nowhere.toml",), 3, "no such file"),
        (("nowhere:X",), 3, "nowhere:X: No module named 'nowhere'"),
        (("broken:NOTHING",), 3, "has no attribute 'NOTHING'"),
        (("broken:NOT_A_TYPE",), 2, "is a int, not a DeviceType"),
        (("fails:X",), 2, "cannot be imported: ZeroDivisionError"),
        (("serial", "--runs", "0"), 2, "--runs"),
        (("--replay", "missing.txt"), 3, "missing.txt: there is no such transcript"),
        (("--replay", "/dev/zero"), 1, "/dev/zero: not a regular file"),
        (("--replay", "large.txt"), 2, "large.txt: not a transcript: it has 3221225472 bytes; the limit is"),
        (("--replay", "no.txt"), 2, "no line '# machine:'"),
        (("--replay", "binary.txt"), 2, "not a transcript"),
        (("serial", "--replay", "badline.txt"), 2, "line 2: 'inb' is not a step"),
        (("examples.mailbox:MAILBOX", "--transcript", "no/where.txt"), 1, "no/where.txt: No such file"),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path: Path, args: tuple[str, ...], status: int, message: str) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "fails.py").write_text("1 / 0\n")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "no.txt").write_text("# cut\n")
    (tmp_path / "large.txt").touch()
    os.truncate(tmp_path / "large.txt", 3 << 30)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "badline.txt").write_text('# machine: {"device": [{"type": "serial"}]}\n> inb\n# cut\n')
    done = chkpt(*args, cwd=tmp_path)
    assert done.returncode == status, done
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_the_documented_example_is_as_shown() -> None:
    page = (ROOT / "docs" / "PROVE.md").read_text()
    command, _, shown = page.partition("$ chkpt prove ")[2].partition("```")[0].partition("\n")
    output = chkpt(*command.split()).stdout
    assert output.startswith(shown.removesuffix("...\n"))
