"""`chkpt run --until`: its goals, its output, its end."""

import json
from pathlib import Path

import pytest

from chkpt.cli.until import parse_until
from chkpt.errors import UsageError
from chkpt.seal import generate_identity, open_snapshot, trusted_keys
from chkpt.service.api.requests import SaveRequest
from chkpt.service.until import Until
from tests.guests import HERE
from tests.support.pairs import pair
from tests.support.processes import PATIENCE, Outcome, chkpt, refused, spawn

Capture = pytest.CaptureFixture[str]

SHELL_BIOS = HERE / "shell.bin"


def run(*args: object, typed: bytes = b"") -> Outcome:
    with spawn("run", *args) as process:
        out, err = process.communicate(typed, timeout=PATIENCE)
    return Outcome(process.returncode, out.decode(), err.decode())


def find_port(goal: str, **options: object) -> Until | None:
    given = {"port": None, "timeout": None, "save": None, "force": False, **options}
    return parse_until(goal, **given)  # type: ignore[arg-type]  # options of any kind


@pytest.mark.parametrize(
    ("goal", "until"),
    [
        ("login:", Until(text=b"login:")),
        ("5", Until(ticks=5)),
        ("+1_000", Until(ticks=1000, relative=True)),
        ("text:5", Until(text=b"5")),
        ("text:exit", Until(text=b"exit")),
        ("text:text:", Until(text=b"text:")),
        ("exit", Until()),
        ("-5", Until(text=b"-5")),
        ("\udcff", Until(text=b"\xff")),
    ],
)
def test_what_is_waited_for(goal: str, until: Until) -> None:
    assert find_port(goal) == until


def test_what_is_to_be_saved_is_handed_on() -> None:
    request = SaveRequest("/a", force=True, sign="/key", recipients=("r",))
    assert find_port("5", save=request, force=True) == Until(ticks=5, save=request)


@pytest.mark.parametrize(
    ("goal", "options", "message"),
    [
        ("", {}, "needs a text"),
        ("text:", {}, "needs a text"),
        (str(1 << 63), {}, "ticks are counted to"),
        ("a", {"timeout": 0.0}, "--timeout 0: write a number of seconds above 0"),
        ("a", {"timeout": float("nan")}, "--timeout nan"),
        ("a", {"timeout": 1e300}, "--timeout 1e"),
        ("exit", {"save": SaveRequest("/a")}, "--save goes with --until TEXT or TICKS"),
    ],
)
def test_wrong_goals_and_options_are_refused(goal: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_port(goal, **options)


@pytest.mark.parametrize("option", [["--timeout", "1"], ["--save", "a"], ["--force"]])
def test_options_without_until_are_refused(option: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(chkpt(capsys, "run", *option), 2) == f"{option[0]} goes with --until"


def test_until_and_qtest_are_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not run with --qtest" in refused(chkpt(capsys, "run", "--until", "a", "--qtest", "stdio"), 2)


def test_the_guest_s_words_are_on_stdout_and_ours_on_stderr(toml: Path) -> None:
    end = run(toml, "--until", "ready", "--save", "booted")
    assert (end.status, end.out) == (0, "ready")
    ready, last = end.err.splitlines()
    assert ready.startswith("machine shell is running")
    assert last.startswith("chkpt: machine shell has sent 'ready' at tick ")
    assert last.endswith(f"; saved to {toml.parent}/snapshots/booted.zst")
    again = run("--load", "booted", "--trust-config", "--until", "+1000", "--json")
    assert (again.status, again.out) == (0, "\r\n")
    document = json.loads(again.err.splitlines()[-1])
    assert document["ticks"] >= int(last.split("tick ")[1].split(";")[0]) + 1000
    assert {**document, "ticks": 0, "clock_ns": 0} == {
        "end": "reached",
        "status": 0,
        "ticks": 0,
        "clock_ns": 0,
        "saved": None,
    }


def test_what_is_saved_at_the_goal_is_signed_and_encrypted_as_by_save(toml: Path, capfd: Capture) -> None:
    alice, home = pair(toml.parent, "alice"), toml.parent
    recipient, _ = generate_identity(home / "me")
    end = run(toml, "--until", "ready", "--save", "a", "--sign", "alice", "-r", recipient)
    path = home / "snapshots" / "a.zst.age"
    assert end.status == 0
    assert end.err.endswith(f"; saved to {path}, signed with key {alice.id}, encrypted\n")
    with open_snapshot(path, identity=home / "me", trusted=trusted_keys([alice.public])) as reader:
        reader.verify()
    again = run(toml, "--until", "ready", "--save", "b", "--sign", "alice", "--json")
    document = json.loads(again.err.splitlines()[-1])
    assert (document["signed_by"], document["encrypted"]) == ([alice.id], False)
    with open_snapshot(home / "snapshots" / "b.zst", trusted=trusted_keys([alice.public])) as reader:
        assert document["digest"] == reader.root_digest.hex()
    for args, status, words in (
        (["c", "--sign", "absent"], 3, "absent: there is no such key file"),
        (["c", "--sign", alice.public], 2, "chmod 600"),
        (["c", "-r", "absent"], 3, "absent: there is no such key file"),
        (["c", "-r", "age1x"], 2, "is not a recipient"),
        (["./c.zst", "-r", recipient], 2, "the file name of an encrypted snapshot ends in .zst.age"),
        (["./", "--sign", "alice"], 2, "is the path of a directory"),
        (["a", "--sign", "alice"], 1, "a.zst.age: there is a snapshot of that name already"),
        (["b", "-r", recipient, "--force"], 1, "b.zst: there is a snapshot of that name already"),
        (["b"], 1, "b.zst: there is something of that name already"),
        (["/proc/c.zst"], 2, "/proc is not a place for snapshots"),
        ([str(SHELL_BIOS), "--force"], 1, "the machine itself uses this file, and it is not replaced"),
    ):
        message = refused(chkpt(capfd, "run", toml, "--until", "ready", "--save", *args), status)
        assert words in message, (args, message)
    assert sorted(each.name for each in (home / "snapshots").iterdir()) == ["a.zst.age", "b.zst"]


@pytest.mark.parametrize("option", [["--sign", "k"], ["--recipient", "r"], ["--force"]])
def test_options_without_save_are_refused(option: list[str], home: Path, capsys: Capture) -> None:
    assert refused(chkpt(capsys, "run", "--until", "a", *option), 2) == f"{option[0]} goes with --save"


def test_the_guest_s_status_is_the_command_s(toml: Path) -> None:
    end = run(toml, "--until", "exit", "--char", "com1=stdio", typed=b"q")
    assert (end.status, end.out) == (33, "ready\r\n")
    assert end.err.endswith("chkpt: the guest of machine shell ended it with status 33\n")
    assert run(toml, "--char", "com1=stdio", typed=b"q").status == 33


def test_a_time_out_is_a_failure(toml: Path) -> None:
    end = run(toml, "--until", "never", "--timeout", "0.5")
    assert (end.status, end.out) == (1, "ready\r\n")
    assert end.err.splitlines()[-1].endswith(" before it sent 'never': 0.5 s of its clock have passed")
