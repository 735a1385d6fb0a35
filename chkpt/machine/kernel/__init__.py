"""Linux without a BIOS and a boot loader: `[kernel] image, initrd, cmdline` of a machine's TOML.

Source: Linux, Documentation/arch/x86/boot.rst and zero-page.rst. docs/decisions/0012-a-kernel-is-booted-by-the-host.md
says who unpacks the kernel, and what of it is state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from blake3 import blake3

from chkpt.device import Length
from chkpt.errors import ConfigError, NotFoundError, StorageError
from chkpt.machine.config import KernelConfig, Unpack
from chkpt.machine.kernel import elf
from chkpt.machine.kernel.bzimage import ENTRY_64, BzImage, parse
from chkpt.machine.kernel.handover import CMDLINE_AT, CMDLINE_MAX, MIB, PARAMETERS_AT, low_memory, parameters, start
from chkpt.machine.kernel.payload import unpacked
from chkpt.regular_file import TooLongError, read_regular

__all__ = ["Kernel", "KernelState", "Prepared", "start"]

_PAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class KernelState:
    """Which kernel a machine was booted with, in the context `kernel`. It lies in RAM; a reset boots the same again."""

    VERSION: ClassVar[int] = 1

    image: Annotated[bytes, Length(32, 32)]  # BLAKE3-256
    initrd: Annotated[bytes, Length(0, 32)]  # the same; empty where there is none
    cmdline: Annotated[str, Length(0, CMDLINE_MAX)]
    unpack: Unpack


@dataclass(frozen=True, slots=True)
class Prepared:
    """A kernel that can be put into RAM."""

    state: KernelState
    entry: int
    content: Mapping[int, bytes]  # by physical address
    zeros: Mapping[int, int]  # how many bytes from which address on are to be cleared


class Kernel:
    """The kernel of one machine."""

    def __init__(self, config: KernelConfig, memory: int) -> None:
        """Take what is to be booted with how many bytes of RAM; nothing is read yet."""
        self._config = config
        self._memory = memory
        self.state: KernelState | None = None  # of what was booted, here or before a load

    def prepare(self) -> Prepared:
        """Read the kernel and the initrd, and lay them out.

        Raises:
            NotFoundError, StorageError: one of them cannot be read, or is no regular file.
            ConfigError: it is no kernel that can be booted here, or not the one that this machine was booted with.
        """
        config = self._config
        if not config.image:
            raise ConfigError(
                "kernel: its image was not taken from the snapshot; to boot it, run the machine with its TOML, or with "
                "--trust-config"
            )
        content = _read(config.image, self._memory)
        initrd = b"" if config.initrd is None else _read(config.initrd, self._memory)
        state = KernelState(
            blake3(content).digest(), blake3(initrd).digest() if initrd else b"", config.cmdline, config.unpack
        )
        if self.state is not None:
            _compare(state, self.state)
        try:
            return self._laid_out(state, parse(content), initrd)
        except ConfigError as exc:
            raise ConfigError(f"kernel: {config.image}: {exc}") from exc

    def _laid_out(self, state: KernelState, image: BzImage, initrd: bytes) -> Prepared:
        memory = self._memory
        cmdline = state.cmdline.encode()
        most = min(image.cmdline_size or 255, CMDLINE_MAX)  # boot.rst, "cmdline_size": 255 before 2.06
        if len(cmdline) > most:
            raise ConfigError(f"its command line has {len(cmdline)} bytes, more than the {most} that it takes")
        if memory < 2 * MIB:
            raise ConfigError(f"it needs 2M of memory at the least, of which the machine has {memory} bytes")
        if state.unpack is Unpack.GUEST:
            entry, content, zeros, end = _packed(image)
        else:
            entry, content, zeros, end = _ready(image, memory)
        if end > memory:
            raise ConfigError(f"it needs memory up to {end:#x}, and the machine has {memory:#x} bytes")
        address = 0
        if initrd:
            top = min(memory, image.initrd_max + 1)
            address = max(top - len(initrd), 0) & -_PAGE
            if address < end:
                raise ConfigError(
                    f"its initrd of {len(initrd)} bytes does not fit between the kernel's end, {end:#x}, and {top:#x}"
                )
            content[address] = initrd
        content[PARAMETERS_AT] = parameters(image, memory, (address, len(initrd)), len(cmdline))
        content[CMDLINE_AT] = cmdline + b"\0"
        return Prepared(state, entry, {**content, **low_memory()}, zeros)


Layout = tuple[int, dict[int, bytes], dict[int, int], int]
"""The entry, what lies where, what is cleared, and the end of it."""


def _packed(image: BzImage) -> Layout:
    """Lay out a kernel that unpacks itself."""
    address = image.pref_address
    if address < MIB or address % _PAGE:
        raise ConfigError(f"it wants to lie at {address:#x}, which is no page from 1 MiB on")
    return address + ENTRY_64, {address: image.code}, {}, address + image.init_size


def _ready(image: BzImage, memory: int) -> Layout:
    """Lay out a kernel that is unpacked here."""
    kernel = elf.parse(unpacked(image.payload, memory))
    content: dict[int, bytes] = {}
    zeros: dict[int, int] = {}
    for segment in kernel.segments:
        if segment.address < MIB:
            raise ConfigError(f"a segment of it wants to lie at {segment.address:#x}, below 1 MiB")
        content[segment.address] = segment.content
        zeros[segment.address + len(segment.content)] = segment.size - len(segment.content)
    first = min(segment.address for segment in kernel.segments)
    end = max(first + image.init_size, *(segment.end for segment in kernel.segments))
    return kernel.entry, content, zeros, end


def _read(path: str, memory: int) -> bytes:
    """Return a file's content. Nothing that is longer than the machine's RAM has a place in it."""
    try:
        return read_regular(path, memory)
    except FileNotFoundError:
        raise NotFoundError(f"kernel: {path}: no such file") from None
    except TooLongError as exc:
        raise ConfigError(f"kernel: {path}: {exc.strerror}, the machine's memory") from exc
    except OSError as exc:
        raise StorageError(f"kernel: {path}: {exc.strerror}") from exc


def _compare(here: KernelState, booted: KernelState) -> None:
    """Raise ConfigError where another kernel is here than was booted."""
    for name in ("image", "initrd", "cmdline", "unpack"):
        if getattr(here, name) != getattr(booted, name):
            raise ConfigError(f"kernel: its {name} is not the one that this machine was booted with: start it anew")
