"""A kernel is laid out as the boot protocol requires, or refused; a reset boots it again, a load needs no files."""

import gzip
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from struct import pack, unpack_from
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from chkpt.device import DeviceType, Host, Port
from chkpt.errors import ConfigError, NotFoundError, StorageError
from chkpt.machine import Machine
from chkpt.machine.config import KernelConfig, Unpack, parse, without_host
from chkpt.machine.cpu.contract import Activity
from chkpt.machine.cpu.execution import Outcome
from chkpt.machine.kernel import Kernel
from chkpt.machine.kernel.bzimage import parse_bzimage
from chkpt.machine.kernel.handover import PARAMETERS_AT
from chkpt.machine.kernel.payload import unpack_kernel
from chkpt.manager import DeviceTypes
from tests.guests import SECOND, differences, everything, execution
from tests.support.images import AT, CODE, KINDS, TOLD, bzimage, elf
from tests.support.rig import saved

MEMORY = 4 << 20
BOARD: list[dict[str, object]] = [{"type": "port92"}, {"type": "i8042"}]


def machine(directory: Path, image: bytes = bzimage(), *, boot: bool = True, **kernel: Any) -> Machine:
    """Build a machine with this kernel."""
    (directory / "vmlinuz").write_bytes(image)
    table: dict[str, Any] = {"memory": MEMORY, "cpu": {}, "device": BOARD, "kernel": {"image": "vmlinuz", **kernel}}
    return Machine(parse(table, directory), boot=boot)


def finish(board: Machine) -> Outcome:
    return board.run(until=board.clock.now + SECOND // 100)


# -- what the kernel finds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_of_each_kind_of_payload_runs(kind: str, tmp_path: Path) -> None:
    board = machine(tmp_path, bzimage(KINDS[kind](elf())))
    assert finish(board) is Outcome.DEAD
    assert board.memory.load(TOLD, 8) == PARAMETERS_AT
    assert board.memory.read(AT, len(CODE)) == CODE
    board.close()


def test_a_kernel_may_unpack_itself(tmp_path: Path) -> None:
    board = machine(tmp_path, bzimage(b"of no known kind"), unpack="guest")
    assert execution(board).save().rip == AT + 0x200
    assert finish(board) is Outcome.DEAD
    assert board.memory.load(TOLD, 8) == PARAMETERS_AT
    board.close()


def test_the_boot_parameters_have_memory_command_line_and_initrd(tmp_path: Path) -> None:
    (tmp_path / "initrd").write_bytes(b"first files" * 1000)
    board = machine(tmp_path, cmdline="console=ttyS0 quiet", initrd="initrd")
    page = board.memory.read(PARAMETERS_AT, 4096)
    assert page[0x1F1:0x210] == bzimage()[0x1F1:0x210]
    assert page[0x210] == 0xFF
    assert page[0x26C:0x290] == bytes(0x24)  # behind the header nothing of the image is copied
    ranges = [unpack_from("<QQI", page, 0x2D0 + 20 * at) for at in range(page[0x1E8])]
    assert ranges == [(0, 0x9FC00, 1), (0x9FC00, 0x60400, 2), (1 << 20, MEMORY - (1 << 20), 1)]
    cmdline, size = unpack_from("<I", page, 0x228)[0], unpack_from("<I", page, 0x238)[0]
    assert board.memory.read(cmdline, size + 1) == b"console=ttyS0 quiet\0"
    address, size = unpack_from("<II", page, 0x218)
    assert board.memory.read(address, size) == b"first files" * 1000
    assert address % 4096 == 0
    assert MEMORY - 4096 <= address + size <= MEMORY
    board.close()


def test_the_initrd_lies_no_higher_than_the_kernel_allows(tmp_path: Path) -> None:
    (tmp_path / "initrd").write_bytes(bytes(5000))
    board = machine(tmp_path, bzimage(initrd_max=0x2F_FFFF), initrd="initrd")
    address, size = unpack_from("<II", board.memory.read(PARAMETERS_AT + 0x218, 8))
    assert (address, size) == (0x2F_E000, 5000)
    board.close()


def test_what_a_segment_has_beyond_its_content_is_zero(tmp_path: Path) -> None:
    board = machine(tmp_path, bzimage(gzip.compress(elf(more=64))))
    board.memory.write(AT + len(CODE), b"\xff" * 65)
    board.reset()
    assert board.memory.read(AT + len(CODE), 65) == bytes(64) + b"\xff"
    board.close()


def test_a_kernel_that_is_beside_a_bios_is_what_runs(tmp_path: Path) -> None:
    (tmp_path / "bios").write_bytes(b"\xf4" * 4096)
    (tmp_path / "vmlinuz").write_bytes(bzimage())
    table = {"memory": MEMORY, "cpu": {}, "firmware": {"bios": "bios"}, "kernel": {"image": "vmlinuz"}}
    board = Machine(parse(table, tmp_path))
    assert finish(board) is Outcome.DEAD
    assert board.memory.load(TOLD, 8) == PARAMETERS_AT
    assert board.memory.read(0xF_F000, 4096) == b"\xf4" * 4096
    board.close()


# -- what is refused --------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a bzImage: .* boot sector"),
    "no boot sector": (bytes(4096), "not a bzImage: .* boot sector"),
    "a boot sector only": (bytes(510) + b"\x55\xaa" + bytes(512), "its setup header is missing"),
    "old": (bzimage(version=0x209), r"boot protocol 2\.09, .*2\.12"),
    "32-bit": (bzimage(xloadflags=0), "it is a 32-bit kernel"),
    "zImage": (bzimage(loadflags=0), "it is a zImage"),
    "long header": (bzimage(header_end=0x2A0), "its setup header ends at 0x2a0"),
    "cut off": (bzimage()[:-16], r"cut off: it has \d+ bytes of \d+"),
    "payload outside": (bzimage(length=1 << 20), "its payload of 1048576 bytes at 0x300 is not within"),
    "payload of no kind": (bzimage(b"\x89LZO" + bytes(60)), "begins with 894c5a4f0000; .*unpack"),
    "payload damaged": (bzimage(gzip.compress(elf())[:-20] + bytes(16) + pack("<I", 200)), "gzip payload is damaged"),
    "more than it declares": (bzimage(KINDS["xz"](elf())[:-4] + pack("<I", 100)), "unpacks to more than the 100 bytes"),
    "less than it declares": (bzimage(KINDS["zstd"](elf())[:-4] + pack("<I", 500)), "bytes of the 500 bytes"),
    "more than memory": (bzimage(KINDS["lz4"](elf())[:-4] + pack("<I", MEMORY + 1)), "more than the 4194304 bytes"),
    "no ELF": (bzimage(gzip.compress(bytes(300))), "not an ELF file"),
    "another machine": (bzimage(gzip.compress(elf(machine=3))), "not a 64-bit executable"),
    "segment outside": (bzimage(gzip.compress(elf()[:-3])), "its segment for 0x200000"),
    "entry outside": (bzimage(gzip.compress(elf(entry=0x1000))), "entry at 0x1000"),
    "too low": (bzimage(gzip.compress(elf(address=0x8000))), "0x8000, below 1 MiB"),
    "beyond memory": (bzimage(init_size=MEMORY), "up to 0x600000, .*0x400000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_image_that_cannot_be_booted_is_refused(name: str, tmp_path: Path) -> None:
    image, message = REFUSED[name]
    with pytest.raises(ConfigError, match=message) as caught:
        machine(tmp_path, image)
    assert str(caught.value).startswith(f"kernel: {tmp_path}/vmlinuz: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cmdline": "x" * 2048}, "its command line has 2048 bytes, more than the 2047"),
        (
            {"initrd": "large"},
            r"its initrd of 3000000 bytes does not fit between the kernel's end, 0x210000, and 0x400000",
        ),
        ({"cmdline": "two\nlines"}, "cmdline has characters that are not printable"),
        ({"imgae": ""}, "unknown key imgae; did you mean image"),
        ({"unpack": "other"}, "unpack is 'other', not one of host, guest"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3_000_000))
    with pytest.raises(ConfigError, match=message):
        machine(tmp_path, **options)


def test_a_kernel_needs_a_cpu_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kernel: it needs a CPU"):
        parse({"memory": MEMORY, "kernel": {"image": "vmlinuz"}})
    with pytest.raises(NotFoundError, match=r"kernel: .*nowhere: no such file"):
        machine(tmp_path, initrd="nowhere")
    with pytest.raises(StorageError, match="Is a directory"):
        machine(tmp_path, initrd=".")
    with pytest.raises(ConfigError, match="2M of memory"):
        Kernel(KernelConfig(str(tmp_path / "vmlinuz")), 1 << 20).prepare()


@dataclass(frozen=True, slots=True)
class Nothing:
    """A gate has no options."""


class ClosedGate:
    """A board's address line 20, disabled at power-on, with or without a register at port 0x92."""

    def __init__(self, host: Host, ports: int) -> None:
        self._line = host.a20_line()
        if ports:
            host.claim_ports(0x92, [Port(lambda: 0, lambda value: self._line.set(bool(value & 2)))])

    def reset(self) -> None:
        self._line.set(False)


def gated(ports: int) -> DeviceTypes:
    return DeviceTypes([DeviceType("gate", lambda host, _: ClosedGate(host, ports), Nothing, None)])


def test_address_line_20_is_enabled_by_port_0x92_or_the_kernel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(bzimage())
    table = {"memory": MEMORY, "cpu": {}, "device": [{"type": "gate"}], "kernel": {"image": "vmlinuz"}}
    board = Machine(parse(table, tmp_path), device_types=gated(1))
    assert board.a20.level
    assert finish(board) is Outcome.DEAD
    assert board.memory.load(TOLD, 8) == PARAMETERS_AT
    board.close()
    with pytest.raises(ConfigError, match="address line 20 is disabled, and there is no port 0x92"):
        Machine(parse(table, tmp_path), device_types=gated(0))


LIBRARY = [bzimage(pack_(elf())) for pack_ in KINDS.values()]


def changed(image: bytes, edits: list[tuple[int, int]], end: int | None) -> bytes:
    result = bytearray(image)
    for at, value in edits:
        result[at % len(result)] = value
    return bytes(result[:end])


IMAGES = st.one_of(
    st.binary(max_size=2000),
    st.builds(
        changed,
        st.sampled_from(LIBRARY),
        st.lists(
            st.tuples(st.one_of(st.integers(0x1F0, 0x270), st.integers(0, 4096)), st.integers(0, 255)), max_size=4
        ),
        st.one_of(st.none(), st.integers(0, 4096)),
    ),
)


@settings(deadline=None)
@given(image=IMAGES, unpack=st.sampled_from(Unpack))
def test_every_image_boots_or_is_refused(
    image: bytes, unpack: Unpack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(image)
    try:
        prepared = Kernel(KernelConfig(str(path), unpack=unpack), MEMORY).prepare()
    except ConfigError:
        return
    assert all(at in range(MEMORY - len(content) + 1) for at, content in prepared.content.items())
    assert all(at in range(MEMORY - size + 1) for at, size in prepared.zeros.items())


@given(data=st.binary(max_size=400), kind=st.sampled_from([kind for kind in KINDS if kind != "none"]))
def test_no_payload_unpacks_to_more_than_the_limit(data: bytes, kind: str) -> None:
    assert unpack_kernel(KINDS[kind](data), len(data)) == data
    if data:
        with pytest.raises(ConfigError):
            unpack_kernel(KINDS[kind](data), len(data) - 1)


def test_the_header_is_read_whole() -> None:
    image = parse_bzimage(bzimage(setup_sects=0))  # means 4
    assert image.code[0x200 : 0x200 + len(CODE)] == CODE
    assert (image.pref_address, image.init_size, image.cmdline_size) == (AT, 0x1_0000, 2047)


# -- reset, save and load ---------------------------------------------------------------------------------------------


def test_a_reset_boots_the_kernel_again(tmp_path: Path) -> None:
    board = machine(tmp_path)
    finish(board)
    board.memory.write(AT, bytes(16))
    board.reset()
    assert finish(board) is Outcome.DEAD
    assert board.memory.load(TOLD + 8, 1) == 2
    board.close()


def gone(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    path.write_bytes(bzimage(gzip.compress(elf(b"\xf4" * 20))))


@pytest.mark.parametrize(("spoil", "reason"), [(gone, "no such file"), (replaced, "its image is not the one")])
def test_a_reset_that_cannot_boot_the_kernel_changes_nothing_and_says_why(
    spoil: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    board = machine(tmp_path)
    finish(board)
    before = everything(board)
    spoil(tmp_path / "vmlinuz")
    with pytest.raises((NotFoundError, ConfigError), match=reason):
        board.reset()
    assert not list(differences(everything(board), before))
    board.close()


def test_a_guest_that_resets_itself_without_its_kernel_stands_still_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = bytes.fromhex("b0fee664ebfe")  # mov al, FEh; out 64h, al
    board = machine(tmp_path, bzimage(gzip.compress(elf(code))))
    gone(tmp_path / "vmlinuz")
    with caplog.at_level(logging.ERROR):
        assert finish(board) is Outcome.SHUTDOWN
    assert "cannot be booted: kernel: " in caplog.text
    state = execution(board).save()
    assert state.activity is Activity.SHUTDOWN
    assert state.reason.startswith("reset without a kernel: kernel: ")
    board.close()


def test_a_loaded_machine_goes_on_without_the_kernel_s_files(tmp_path: Path) -> None:
    board = machine(tmp_path, cmdline="quiet")
    board.run(ticks=1)
    snapshot = saved(board)
    finish(board)
    gone(tmp_path / "vmlinuz")
    stripped, lost = without_host(board.config)
    assert lost == ("kernel",)
    assert stripped.kernel == KernelConfig("", None, "quiet")
    with pytest.raises(ConfigError, match="its image was not taken from the snapshot"):
        Machine(stripped)
    other = Machine(stripped, boot=False)
    assert finish(other) is Outcome.SHUTDOWN
    other.load(snapshot)
    finish(other)
    assert not list(differences(everything(other), everything(board)))
    with pytest.raises(ConfigError, match="run the machine with its TOML, or with --trust-config"):
        other.reset()
    board.close()
    other.close()


def test_a_loaded_machine_is_reset_with_the_kernel_it_was_booted_with_only(tmp_path: Path) -> None:
    board = machine(tmp_path, cmdline="one")
    snapshot = saved(board)
    other = machine(tmp_path, cmdline="other")
    other.load(snapshot)
    with pytest.raises(ConfigError, match="its cmdline is not the one"):
        other.reset()
    board.close()
    other.close()


def test_the_context_kernel_names_what_was_booted(tmp_path: Path) -> None:
    board = machine(tmp_path, cmdline="quiet")
    values = saved(board).contexts["kernel"].values
    assert values["cmdline"] == "quiet"
    assert values["image"] == blake3(bzimage()).digest()
    assert values["initrd"] == b""
    board.close()
