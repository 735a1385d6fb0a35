"""Where a machine may be saved, which key signs the snapshot, who can read it, and the answer to the client."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chkpt.machine import MachineConfig
from chkpt.manager import SaveReport, Skip
from chkpt.seal import Sealing, sealing
from chkpt.service import paths
from chkpt.service.api.messages import SaveReply, SkipInfo
from chkpt.service.api.requests import SaveRequest
from chkpt.snapshot import Summary
from chkpt.store.files import NewFile
from chkpt.store.publish import check_new


@dataclass(frozen=True, slots=True)
class Destination:
    """A path where a snapshot may be saved, as a request names it, and the keys that sign and encrypt the snapshot."""

    request: SaveRequest
    seal: Sealing

    def reply(self, file: NewFile, summary: Summary, report: SaveReport, clock_ns: int) -> SaveReply:
        """Return the answer to a client about the snapshot that was published as `file`."""
        return SaveReply(
            path=self.request.path,
            size=file.size,
            digest=summary.root_digest.hex(),
            clock_ns=clock_ns,
            saved=list(report.saved),
            skipped=skips(report.skipped),
            encrypted=bool(self.seal.recipients),
            signed_by=[] if self.seal.key is None else [self.seal.key.id],
            removed=[*map(str, file.removed)],
        )


def check_destination(request: SaveRequest, config: MachineConfig) -> Destination:
    """Check where a machine is to be saved, and read the key, before the save begins.

    Raises:
        ExistsError: there is something that the save may not replace.
        KeyFileError, NotFoundError: the key or a recipient cannot be used.
        StorageError: the path cannot be examined.
        UsageError: `chkpt.service.paths` refuses the path.
        ChkptError: an extra that this needs is not installed.
    """
    paths.check_save(request.path, force=request.force, own=files_of(config))
    seal = sealing(None if request.sign is None else Path(request.sign), request.recipients)
    check_new(Path(request.path), force=request.force)
    return Destination(request, seal)


def files_of(config: MachineConfig) -> Iterable[str]:
    """Return the paths of the files that a machine was made of. A snapshot must not replace any of them."""
    options = (backend.options.get("path") for device in config.devices for backend in device.backends)
    bios = None if config.firmware is None else config.firmware.bios
    kernel = () if config.kernel is None else (config.kernel.image or None, config.kernel.initrd)
    return [path for path in (*options, bios, *kernel) if isinstance(path, str)]


def skips(skipped: Iterable[Skip]) -> list[SkipInfo]:
    """Return the skipped names as an answer shows them."""
    return [SkipInfo(name=skip.name, reason=skip.reason) for skip in skipped]
