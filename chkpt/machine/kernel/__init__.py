"""Linux without a BIOS and a boot loader: `[kernel] image, initrd, cmdline` of a machine's TOML.

Source: Linux, Documentation/arch/x86/boot.rst and zero-page.rst. Who unpacks the kernel,
and which part of it is state: docs/decisions/0012-a-kernel-is-booted-by-the-host.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from blake3 import blake3

from chkpt.device import Length
from chkpt.errors import ConfigError, NotFoundError, StorageError
from chkpt.machine.config import KernelConfig, Unpack
from chkpt.machine.kernel.bzimage import ENTRY_64, BzImage, parse_bzimage
from chkpt.machine.kernel.elf import parse_elf
from chkpt.machine.kernel.handover import CMDLINE_AT, CMDLINE_MAX, MIB, PARAMETERS_AT, low_memory, parameters, start
from chkpt.machine.kernel.payload import unpack_kernel
from chkpt.regular_file import TooLongError, read_regular

__all__ = ["Kernel", "KernelState", "Prepared", "start"]

_PAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class KernelState:
    """Which kernel a machine was booted with, in the context `kernel`. A reset boots the same one again."""

    VERSION: ClassVar[int] = 1

    image: Annotated[bytes, Length(32, 32)]  # BLAKE3-256
    initrd: Annotated[bytes, Length(0, 32)]  # the same; empty if there is none
    cmdline: Annotated[str, Length(0, CMDLINE_MAX)]
    unpack: Unpack


@dataclass(frozen=True, slots=True)
class Prepared:
    """A kernel that can be put into RAM."""

    state: KernelState
    entry: int
    content: Mapping[int, bytes]  # by physical address
    zeros: Mapping[int, int]  # by physical address, the number of bytes to clear


class Kernel:
    """The kernel of one machine."""

    def __init__(self, config: KernelConfig, memory: int) -> None:
        """Take the configuration and the bytes of RAM; nothing is read yet."""
        self._config = config
        self._memory = memory
        self.state: KernelState | None = None  # of the kernel that was booted, here or before the load

    def prepare(self) -> Prepared:
        """Read the kernel and the initrd, and lay them out.

        Raises:
            NotFoundError, StorageError: one of them cannot be read, or is not a regular file.
            ConfigError: the kernel cannot be booted here, or is not the one that this machine was booted with.
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
            return self._lay_out(state, parse_bzimage(content), initrd)
        except ConfigError as exc:
            raise ConfigError(f"kernel: {config.image}: {exc}") from exc

    def _lay_out(self, state: KernelState, image: BzImage, initrd: bytes) -> Prepared:
        memory = self._memory
        cmdline = state.cmdline.encode()
        most = min(image.cmdline_size or 255, CMDLINE_MAX)  # boot.rst, "cmdline_size": 255 before 2.06
        if len(cmdline) > most:
            raise ConfigError(f"its command line has {len(cmdline)} bytes, more than the {most} that it accepts")
        if memory < 2 * MIB:
            raise ConfigError(f"it needs at least 2M of memory, but the machine has {memory} bytes")
        if state.unpack is Unpack.GUEST:
            entry, content, zeros, end = _lay_out_packed(image)
        else:
            entry, content, zeros, end = _lay_out_unpacked(image, memory)
        if end > memory:
            raise ConfigError(f"it needs memory up to {end:#x}, but the machine has {memory:#x} bytes")
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
"""The entry, the content and the zeros as in `Prepared`, and the end of the kernel."""


def _lay_out_packed(image: BzImage) -> Layout:
    """Lay out a kernel that unpacks itself."""
    address = image.pref_address
    if address < MIB or address % _PAGE:
        raise ConfigError(f"its preferred address {address:#x} is not that of a page at or above 1 MiB")
    return address + ENTRY_64, {address: image.code}, {}, address + image.init_size


def _lay_out_unpacked(image: BzImage, memory: int) -> Layout:
    """Unpack a kernel and lay it out."""
    kernel = parse_elf(unpack_kernel(image.payload, memory))
    content: dict[int, bytes] = {}
    zeros: dict[int, int] = {}
    for segment in kernel.segments:
        if segment.address < MIB:
            raise ConfigError(f"a segment of it is for {segment.address:#x}, below 1 MiB")
        content[segment.address] = segment.content
        zeros[segment.address + len(segment.content)] = segment.size - len(segment.content)
    first = min(segment.address for segment in kernel.segments)
    end = max(first + image.init_size, *(segment.end for segment in kernel.segments))
    return kernel.entry, content, zeros, end


def _read(path: str, memory: int) -> bytes:
    """Return a file's content. A file that is longer than the machine's RAM is refused."""
    try:
        return read_regular(path, memory)
    except FileNotFoundError:
        raise NotFoundError(f"kernel: {path}: no such file") from None
    except TooLongError as exc:
        raise ConfigError(f"kernel: {path}: {exc.strerror}, the machine's memory") from exc
    except OSError as exc:
        raise StorageError(f"kernel: {path}: {exc.strerror}") from exc


def _compare(here: KernelState, booted: KernelState) -> None:
    """Raise ConfigError if this is another kernel than the one that was booted."""
    for name in ("image", "initrd", "cmdline", "unpack"):
        if getattr(here, name) != getattr(booted, name):
            raise ConfigError(
                f"kernel: its {name} is not the one that this machine was booted with; "
                "put that back, or start the machine again"
            )
