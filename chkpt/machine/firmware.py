"""The BIOS: read once; in ROM below 4 GiB, and in RAM below 1 MiB as in a PC at power-on."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from blake3 import blake3

from chkpt.device import U32, Length
from chkpt.errors import ConfigError, NotFoundError, StateError, StorageError
from chkpt.machine.board.memory import Memory
from chkpt.machine.config import FirmwareConfig
from chkpt.manager import installed_roms
from chkpt.regular_file import TooLongError, read_regular

MIB: Final = 1 << 20
_MAX: Final = 128 << 10  # E0000 to FFFFF; a larger one expects a chipset that puts RAM over ROM
_UNIT: Final = 4 << 10


@dataclass(frozen=True, slots=True)
class FirmwareState:
    """Which BIOS a machine has, in the context `firmware`. The configuration names it; a load only compares it."""

    VERSION: ClassVar[int] = 1
    FIXED: ClassVar[tuple[str, ...]] = ("size", "digest")

    size: U32
    digest: Annotated[bytes, Length(32, 32)]  # BLAKE3-256


def firmware_state(image: bytes) -> FirmwareState:
    """Return the state that a machine with this BIOS saves."""
    return FirmwareState(len(image), blake3(image).digest())


class Firmware:
    """One BIOS in one machine."""

    def __init__(self, name: str, image: bytes, memory: Memory) -> None:
        """Put an image into the machine; messages call it `name`.

        Raises:
            ConfigError: a BIOS cannot have this size, or the machine does not have enough RAM for it.
        """
        self._image = image
        size = len(image)
        if not size or size % _UNIT or size > _MAX:
            raise _wrong_size(name, size)
        if memory.size < MIB:
            raise ConfigError(f"firmware: it needs 1M of memory, but the machine has {memory.size} bytes")
        self._memory = memory
        memory.map_rom((4 << 30) - size, image)
        self.state = firmware_state(image)
        self.reset()

    def reset(self) -> None:
        """Put it below 1 MiB again: that is RAM, and the guest may have overwritten it."""
        self._memory.write(MIB - len(self._image), self._image)

    def check(self, state: FirmwareState) -> None:
        """Raise StateError if a snapshot is of a machine with another BIOS."""
        if state != self.state:
            raise StateError(
                f"firmware.digest is {state.digest.hex()[:16]}... of {state.size} bytes, "
                f"but this machine's BIOS is {self.state.digest.hex()[:16]}... of {self.state.size}"
            )


def open_firmware(config: FirmwareConfig, memory: Memory) -> Firmware:
    """Read the image of a configuration and put it into the machine.

    Raises:
        NotFoundError: no such file, or no such ROM.
        StorageError: the file cannot be read, or is not a regular file.
        ConfigError: a BIOS cannot have its size, or the machine does not have enough RAM for it.
    """
    if config.bios is None:
        rom = installed_roms().find(str(config.rom))
        return Firmware(f"ROM {rom.name}", rom.image, memory)
    return Firmware(config.bios, _read_file(config.bios), memory)


def _read_file(path: str) -> bytes:
    try:
        return read_regular(path, _MAX)
    except FileNotFoundError:
        raise NotFoundError(f"firmware: {path}: no such file") from None
    except TooLongError as exc:
        raise _wrong_size(path, exc.size) from exc
    except OSError as exc:
        raise StorageError(f"firmware: {path}: {exc.strerror}") from exc


def _wrong_size(name: str, size: int | None) -> ConfigError:
    has = "more" if size is None else str(size)
    return ConfigError(f"firmware: {name} has {has} bytes, not a multiple of {_UNIT} up to {_MAX}")
