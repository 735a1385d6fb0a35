"""Where a machine may be saved: not over what it is made of."""

from pathlib import Path

import pytest

from chkpt.errors import ChkptError
from chkpt.machine.config import parse
from chkpt.service.api.requests import SaveRequest
from chkpt.service.save import check_destination


@pytest.mark.parametrize("name", ["bios", "image", "initrd", "disk"])
def test_no_file_that_the_machine_is_made_of_is_replaced(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")
    config = parse(
        {
            "cpu": {},
            "firmware": {"bios": "bios"},
            "kernel": {"image": "image", "initrd": "initrd"},
            "device": [
                {"type": "ide", "name": "ide0", "drive": [{"unit": 0, "image": "disk"}]},
            ],
        },
        tmp_path,
    )
    with pytest.raises(ChkptError, match="the machine itself uses this file"):
        check_destination(SaveRequest(str(path), True, None, ()), config)


def test_a_kernel_without_files_keeps_no_place_from_being_saved_to(tmp_path: Path) -> None:
    config = parse({"cpu": {}, "kernel": {"image": ""}})
    request = SaveRequest(str(tmp_path / "s.zst"), force=True)
    assert check_destination(request, config).request == request
