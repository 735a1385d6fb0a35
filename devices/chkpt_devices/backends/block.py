"""Block backends: what is behind a drive. Both keep in memory what the guest writes, and never write to the host.

| name | the base | options |
|---|---|---|
| `image` | a raw image: a file or a block device, opened for reading only | `path`, `read_only`, `format` |
| `scratch` | zeros | `size` in bytes |

The changed blocks lie over the base, copy on write. A snapshot holds them, but not the base: of
that it holds the size and the identity (`chkpt_devices.backends.identity`). So it only loads over the image that it was
saved over. An image must have a whole number of 512-byte sectors: any other is most often an incomplete
download.
"""

import errno
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from chkpt.device import SECTOR_SIZE, BackendType, DiskState, FrontendKind, Length, Range, SparseBlob
from chkpt.errors import ChkptError, ConfigError, StateError, StorageError
from chkpt_devices.backends.block_map import BlockMap
from chkpt_devices.backends.identity import Kind, kind_of
from chkpt_devices.backends.image import Image
from chkpt_devices.backends.image_formats import HEAD_SIZE, describe_refusal, find_format

BLOCK_SIZE: Final = 4096
"""Bytes that are changed together."""

PIECE_SIZE: Final = 0x10000
"""Bytes in a piece of the blob that holds the changed blocks."""

BLOCKS_A_PIECE: Final = PIECE_SIZE // BLOCK_SIZE

MAX_SIZE: Final = 1 << 42
"""The largest disk. Its map of changed blocks, one bit a block, has at most 128 MiB."""

ZERO_BLOCK: Final = bytes(BLOCK_SIZE)
ZERO_PIECE: Final = bytes(PIECE_SIZE)


class ImageFormat(StrEnum):
    """The format of an image."""

    PROBED = "probed"  # a raw image, unless it looks like something else
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Which image, and whether the guest's writes fail. A CD-ROM is an image with `read_only`.

    A file that looks like an image of another format is refused; with the format `raw` its bytes are taken as they are.
    """

    path: Annotated[str, Length(1, 4096)]
    read_only: bool = False
    format: ImageFormat = ImageFormat.PROBED


@dataclass(frozen=True, slots=True)
class ScratchConfig:
    """How large the disk is, in bytes; a machine's TOML may write "16M"."""

    size: Annotated[int, Range(SECTOR_SIZE, MAX_SIZE)]


class CowDisk:
    """A disk of changed blocks over a base that is only read. See `chkpt.device.BlockBackend`."""

    def __init__(
        self,
        name: str,
        size: int,
        read_base: Callable[[int, int], bytes],
        identify: Callable[[Kind], bytes],
        close: Callable[[], None],
        *,
        read_only: bool = False,
        is_identified: Callable[[Kind], bool] = lambda _: True,
        end_identifying: Callable[[], None] = lambda: None,
    ) -> None:
        """Lay an empty set of changes over a base.

        Args:
            name: the disk's name in messages.
            size: bytes, a multiple of `SECTOR_SIZE`.
            read_base: returns `length` bytes at `offset` of the base, or raises OSError.
            identify: returns the base's identity of this kind, empty if the base is zeros, or raises OSError.
            close: releases the base's resources.
            read_only: whether writes fail.
            is_identified: whether `identify` would return at once.
            end_identifying: makes a waiting call of `identify` fail.
        """
        self._name = name
        self._size = size
        self._read_base = read_base
        self._identify = identify
        self._close = close
        self._read_only = read_only
        self._is_identified = is_identified
        self.end_identifying = end_identifying
        self._blocks: dict[int, bytes] = {}  # those changed blocks that are not zeros
        self._changed = BlockMap(-(-size // BLOCK_SIZE))
        self._pieces: dict[int, bytes] = {}  # as of the last save
        self._stale: set[int] = set()  # the pieces written since
        self._saved: DiskState | None = None  # while nothing has been written since

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    @property
    def read_only(self) -> bool:
        """Whether every write fails."""
        return self._read_only

    def read(self, offset: int, length: int, /) -> bytes:
        """Return `length` bytes at `offset`. Raise OSError if the base cannot be read, or past the end."""
        self._refuse_outside(offset, length)
        changed = self._changed
        first, last = offset // BLOCK_SIZE, (offset + length - 1) // BLOCK_SIZE
        if not changed or not any(index in changed for index in range(first, last + 1)):
            return self._read_base(offset, length)
        parts: list[bytes] = []
        at, end = offset, offset + length
        while at < end:
            index = at // BLOCK_SIZE
            stop = min((index + 1) * BLOCK_SIZE, end)
            if index in changed:
                block = self._blocks.get(index, ZERO_BLOCK)
                parts.append(block[at - index * BLOCK_SIZE : stop - index * BLOCK_SIZE])
            else:
                parts.append(self._read_base(at, stop - at))
            at = stop
        return b"".join(parts)

    def write(self, offset: int, data: bytes, /) -> None:
        """Replace the bytes at `offset`. Raise OSError if the base cannot be read or it is read-only."""
        self._refuse_outside(offset, len(data))
        if self._read_only:
            raise OSError(errno.EROFS, f"{self._name} is read-only")
        written: dict[int, bytes] = {}  # applied at the end: if the base fails half-way, nothing has changed
        at, end = offset, offset + len(data)
        while at < end:
            index = at // BLOCK_SIZE
            start = index * BLOCK_SIZE
            stop = min(start + BLOCK_SIZE, self._size)
            part = data[at - offset : min(stop, end) - offset]
            if len(part) != stop - start:
                if index in self._changed:
                    whole = self._blocks.get(index, ZERO_BLOCK)[: stop - start]
                else:
                    whole = self._read_base(start, stop - start)
                part = whole[: at - start] + part + whole[at - start + len(part) :]
            written[index] = part
            at = stop
        for index, part in written.items():
            if ZERO_BLOCK.startswith(part):
                self._blocks.pop(index, None)
            else:
                self._blocks[index] = part
            self._changed.add(index)
            self._stale.add(index // BLOCKS_A_PIECE)
        self._saved = None

    def flush(self) -> None:
        """Do nothing: the changes last as long as the machine and its snapshots."""

    def _refuse_outside(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self._size:
            raise OSError(errno.EINVAL, f"{length} bytes at {offset} are not within the {self._size} of {self._name}")

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self) -> DiskState:
        """Return the disk's identity and its changes; later writes do not alter what was returned.

        The work grows with what was written since the last save. This waits for the identity of a large image, unless
        it `is_identified`.

        Raises:
            StorageError: the image cannot be read for its identity.
        """
        identity = self._compute_identity(Kind.PIECES)
        if self._saved is not None and self._saved.identity == identity:
            return self._saved
        pieces = dict(self._pieces)
        for number in self._stale:
            piece = self._read_piece(number)
            if piece == ZERO_PIECE[: len(piece)]:
                pieces.pop(number, None)
            else:
                pieces[number] = piece
        self._pieces = pieces
        self._stale.clear()
        self._saved = DiskState(
            self._size, identity, BLOCK_SIZE, self._changed.save(), SparseBlob(self._size, PIECE_SIZE, pieces)
        )
        return self._saved

    def _read_piece(self, number: int) -> bytes:
        """Return the changed blocks of one piece at their places, zeros between them."""
        first = number * BLOCKS_A_PIECE
        get = self._blocks.get
        joined = b"".join([get(index, ZERO_BLOCK) for index in range(first, first + BLOCKS_A_PIECE)])
        return joined[: self._size - number * PIECE_SIZE]

    def _compute_identity(self, kind: Kind) -> bytes:
        try:
            return self._identify(kind)
        except OSError as exc:
            raise StorageError(f"{self._name} cannot be read for its identity: {exc.strerror}") from exc

    def is_identified(self, like: bytes, /) -> bool:
        """Return whether `save`, and `check` of a state with the identity `like`, need not wait for an identity."""
        return all(self._is_identified(kind) for kind in {Kind.PIECES, kind_of(like)})

    def identify(self, like: bytes, /) -> None:
        """Wait until `is_identified`. Any thread may call this. Raise StorageError if the image cannot be read."""
        for kind in sorted({Kind.PIECES, kind_of(like)}):
            self._compute_identity(kind)

    def check(self, state: DiskState, /) -> None:
        """Raise StateError if `state` is of another disk, or its parts do not fit together. Change nothing."""
        if state.size != self._size:
            raise StateError(f"the state is of a disk of {state.size} bytes, but {self._name} has {self._size}")
        identity = self._compute_identity(kind_of(state.identity))
        if state.identity != identity:
            raise StateError(
                f"the state is of a disk over {_describe_identity(state.identity)}, "
                f"but {self._name} is {_describe_identity(identity)}: "
                "give the image that was there when the machine was saved"
            )
        if state.block_size != BLOCK_SIZE:
            raise StateError(f"the disk's block_size is {state.block_size}, not {BLOCK_SIZE}")
        self._changed.check(state.changed)
        blob = state.blocks
        if blob.size != self._size or blob.piece_size <= 0 or blob.piece_size % BLOCK_SIZE:
            raise StateError(f"the disk's blocks are {blob.size} bytes in pieces of {blob.piece_size}")

    def load(self, state: DiskState, /) -> None:
        """Check `state`, then replace the present changes by its changes.

        Raises:
            StateError: it is of another disk.
            CorruptError: its blocks, read from a file, are damaged. Nothing has changed.
        """
        self.check(state)
        changed = self._changed.from_blob(state.changed)
        blocks = _read_changed_blocks(state, changed)
        pieces = set(self._pieces) | self._stale
        self._blocks = blocks
        self._changed = changed
        self._pieces = {}
        self._stale = pieces | {index // BLOCKS_A_PIECE for index in blocks}
        self._saved = None

    def close(self) -> None:
        """Release the host's resources."""
        self._close()


def _describe_identity(identity: bytes) -> str:
    if not identity:
        return "zeros"
    if kind_of(identity) is Kind.WHOLE:
        return f"the image with BLAKE3 digest {identity.hex()}"
    return f"the image with identity {identity.hex()}"


def _read_changed_blocks(state: DiskState, changed: BlockMap) -> dict[int, bytes]:
    """Return the changed blocks of a state that are not zeros. Other blocks of its blob are ignored."""
    blocks: dict[int, bytes] = {}
    per_piece = state.blocks.piece_size // BLOCK_SIZE
    for number, content in state.blocks.pieces():
        piece = bytes(content)
        if len(piece) != min(state.blocks.piece_size, state.size - number * state.blocks.piece_size):
            raise StateError(f"piece {number} of the disk's blocks has {len(piece)} bytes")
        for place in range(-(-len(piece) // BLOCK_SIZE)):
            index = number * per_piece + place
            block = piece[place * BLOCK_SIZE : (place + 1) * BLOCK_SIZE]
            if index in changed and not ZERO_BLOCK.startswith(block):
                blocks[index] = block
    return blocks


# -- the bases --------------------------------------------------------------------------------------------------------


def _find_fault(image: Image, config: ImageConfig) -> ChkptError | None:
    """Return why the image cannot be a disk, or None if it can. Raise OSError if it cannot be read."""
    path = config.path
    if image.kind not in {stat.S_IFREG, stat.S_IFBLK}:
        return StorageError(f"image {path} is neither a file nor a block device; give a raw image")
    size = image.size
    if config.format is not ImageFormat.RAW:
        length = min(HEAD_SIZE, size)
        found = find_format(image.read(0, length), image.read(size - length, length))
        if found is not None:
            return ConfigError(describe_refusal(path, found))
    if not size or size % SECTOR_SIZE:
        return ConfigError(
            f"image {path} has {size} bytes, not a whole number of {SECTOR_SIZE}-byte sectors: is it complete? "
            f"`truncate -s %{SECTOR_SIZE} {path}` pads it with zeros"
        )
    if size > MAX_SIZE:
        return ConfigError(f"image {path} has {size} bytes; the largest disk has {MAX_SIZE}")
    return None


def open_image(config: ImageConfig) -> CowDisk:
    """Open a raw image for reading.

    Raises:
        ConfigError: it is not a raw image, not a whole number of sectors, or larger than 4 TiB.
        StorageError: it cannot be opened, or is neither a file nor a block device.
    """
    path = config.path
    try:
        image = Image(path)
    except OSError as exc:
        reason = exc.strerror
        raise StorageError(f"image {path} cannot be opened: {reason}; check the path and its permissions") from exc
    try:
        unfit = _find_fault(image, config)
    except OSError as exc:
        unfit = StorageError(f"image {path} cannot be read: {exc.strerror}")
    if unfit is not None:
        image.close()
        raise unfit
    image.begin_identifying()
    return CowDisk(
        f"image {path}",
        image.size,
        image.read,
        image.identity,
        image.close,
        read_only=config.read_only,
        is_identified=image.is_identified,
        end_identifying=image.end_identifying,
    )


def open_scratch(config: ScratchConfig) -> CowDisk:
    """Make a disk of zeros.

    Raises:
        ConfigError: its size is not a whole number of sectors.
    """
    if config.size % SECTOR_SIZE:
        raise ConfigError(f"scratch disk of {config.size} bytes: not a whole number of {SECTOR_SIZE}-byte sectors")
    return CowDisk(
        f"scratch disk of {config.size} bytes",
        config.size,
        lambda _, length: bytes(length),
        lambda _: b"",
        lambda: None,
    )


IMAGE: Final = BackendType(FrontendKind.BLOCK, "image", open_image, ImageConfig)
SCRATCH: Final = BackendType(FrontendKind.BLOCK, "scratch", open_scratch, ScratchConfig)
