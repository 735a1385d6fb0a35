"""Tests to inherit for devices and stores of your own; docs/DEVICES.md shows how. It needs pytest.

`pip install 'chkpt-machines[testing]'` installs a pytest that fits.
"""

try:
    import pytest
except ImportError:
    raise ImportError("chkpt.testing needs pytest: pip install 'chkpt-machines[testing]'") from None

pytest.register_assert_rewrite("chkpt.testing.device", "chkpt.testing.store")

from chkpt.testing.contents import plain_checkpoint  # noqa: E402
from chkpt.testing.device import DeviceContract  # noqa: E402  pytest rewrites the asserts of what comes after
from chkpt.testing.store import StoreContract  # noqa: E402

__all__ = ["DeviceContract", "StoreContract", "plain_checkpoint"]
