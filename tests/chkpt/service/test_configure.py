"""Which machine is run: nothing of a snapshot's host is used here unless it is given again or trusted."""

import logging
from pathlib import Path

import pytest

from chkpt.context import Checkpoint, Value
from chkpt.errors import ConfigError, NotFoundError, StateError, UsageError
from chkpt.machine.config import DEFAULT
from chkpt.service.configure import configure
from chkpt.snapshot import Reader, dumps

ELSEWHERE: dict[str, Value] = {
    "name": "far",
    "memory": "1M",
    "device": [
        {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4, "backend": {"type": "file", "path": "/etc/x"}},
        {"type": "serial", "name": "com2", "port": 0x2F8, "irq": 3, "backend": {"type": "null"}},
        {"type": "ide", "name": "ide0", "drive": [{"unit": 0, "size": "1M"}, {"unit": 1, "media": "cdrom"}]},
    ],
}  # fmt: skip


def snapshot(path: Path, config: Value, **header: Value) -> Reader:
    """Return a snapshot of nothing but a header, as if it were at `path`."""
    return Reader(dumps(Checkpoint({"machine": "far", "config": config, **header})), str(path))


def with_image(path: Path) -> Reader:
    config = dict(ELSEWHERE)
    config["device"] = [{"type": "ide", "name": "ide0", "drive": [{"unit": 0, "image": "/secret.img"}]}]
    return snapshot(path, config)


def test_neither_is_the_default_machine() -> None:
    assert configure(None, None).table == DEFAULT


def test_toml_wins_over_the_snapshot(tmp_path: Path) -> None:
    toml = tmp_path / "m.toml"
    toml.write_text('name = "here"\nmemory = "2M"\n')
    config = configure(toml, snapshot(tmp_path / "s.zst", ELSEWHERE))
    assert (config.name, config.memory, config.devices) == ("here", 2 << 20, ())


def test_name_is_replaced() -> None:
    assert configure(None, None, name="other").name == "other"
    with pytest.raises(ConfigError, match="machine: name"):
        configure(None, None, name="a/b")


def test_backends_of_the_snapshot_are_dropped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = configure(None, snapshot(tmp_path / "s.zst", ELSEWHERE))
    assert {each.frontend: each.type for device in config.devices for each in device.backends} == {
        "com2": "null",
        "ide0.0": "scratch",
    }
    assert [record.getMessage() for record in caplog.records] == [
        "com1: its backend is not taken from the snapshot; give one with --char com1=..., or --trust-config"
    ]


def test_backend_given_again_is_used_and_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = configure(None, snapshot(tmp_path / "s.zst", ELSEWHERE), backends={"com1": {"type": "pty"}})
    assert [each.type for each in config.devices[0].backends] == ["pty"]
    assert not caplog.records


def test_trusted_snapshot_is_taken_as_it_is(tmp_path: Path) -> None:
    config = configure(None, snapshot(tmp_path / "s.zst", ELSEWHERE), trust=True)
    assert config.table == ELSEWHERE


def test_disk_image_must_be_given(tmp_path: Path) -> None:
    path = with_image(tmp_path / "s.zst")
    with pytest.raises(UsageError, match=r"disk ide0\.0 has an image.*--drive ide0\.0=PATH.*--trust-config"):
        configure(None, path)
    given = configure(None, path, backends={"ide0.0": {"type": "image", "path": "/mine.img"}})
    assert [dict(each.options) for each in given.devices[0].backends] == [{"path": "/mine.img"}]
    trusted = configure(None, path, trust=True)
    assert trusted.devices[0].backends[0].options["path"] == "/secret.img"


def test_a_bios_must_be_given(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "s.zst", {**ELSEWHERE, "firmware": {"bios": "/secret.bin"}})
    with pytest.raises(UsageError, match=r"s\.zst: the machine has a BIOS, .*--trust-config"):
        configure(None, path)
    assert configure(None, path, trust=True).firmware is not None


def test_what_packages_bring_is_taken_from_a_snapshot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    drive: dict[str, Value] = {"unit": 0, "backend": {"type": "guest", "name": "demo"}}
    device: list[Value] = [{"type": "ide", "name": "ide0", "drive": [drive]}]
    table: dict[str, Value] = {"name": "far", "memory": "1M", "firmware": {"rom": "boot"}, "device": device}
    assert configure(None, snapshot(tmp_path / "s.zst", table)).table == table
    assert not caplog.records


def test_backend_for_nothing_is_refused() -> None:
    with pytest.raises(NotFoundError, match=r"no device or drive ide7\.0; there are: .*ide0\.0"):
        configure(None, None, backends={"ide7.0": {"type": "null"}})


@pytest.mark.parametrize("config", [None, 3, "x", [], {"device": 1}, {"name": ""}, {"memory": "x"}, {"surprise": 1}])
def test_header_that_describes_no_machine_is_refused(tmp_path: Path, config: Value) -> None:
    path = snapshot(tmp_path / "s.zst", config)
    for trust in (False, True):
        with pytest.raises(StateError, match=r"s\.zst: the header"):
            configure(None, path, trust=trust)


def test_a_missing_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"absent\.toml"):
        configure(tmp_path / "absent.toml", None)


def test_the_files_of_a_kernel_are_dropped_and_told_and_the_machine_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table: dict[str, Value] = {"name": "far", "memory": "4M", "cpu": {}}
    table["kernel"] = {"image": "/boot/vmlinuz", "initrd": "/boot/initrd", "cmdline": "quiet"}
    with caplog.at_level(logging.WARNING):
        config = configure(None, snapshot(tmp_path / "s.zst", table))
    assert config.kernel is not None
    assert (config.kernel.image, config.kernel.initrd, config.kernel.cmdline) == ("", None, "quiet")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["kernel"]
    trusted = configure(None, snapshot(tmp_path / "s.zst", table), trust=True)
    assert trusted.kernel is not None
    assert trusted.kernel.initrd == "/boot/initrd"
