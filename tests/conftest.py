import gc
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.kinds import NoProcesses, mark

# `make test` tries the same examples in every run, so that what fails there fails again; `make test-long` tries new
# ones of every property, and more of them. A machine that is busy with something else must not fail a test either way:
# what hangs is ended by pytest-timeout.
settings.register_profile(
    "chkpt", deadline=None, derandomize=True, max_examples=30, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("chkpt-quick", settings.get_profile("chkpt"), max_examples=10)
settings.register_profile("chkpt-long", settings.get_profile("chkpt"), derandomize=False, max_examples=1000)
settings.load_profile("chkpt")

# What a shell starts in the background, or under nohup, ignores these, and so would all that the tests start: chkpt
# leaves alone what it was started to ignore.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    """Hold `make quick` to what it promises."""
    if "not process" in config.getoption("markexpr"):
        config.pluginmanager.register(NoProcesses())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts processes or runs guests, before tests are chosen by their marks."""
    for item in items:
        if isinstance(item, pytest.Function):
            mark(item)


def pytest_collection_finish() -> None:
    """Take the thousands of tests out of what every collection of garbage walks through."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is known of images away from the user's cache, for what the tests start, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of the test's own, whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="chkpt-test-") as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        yield Path(path)


@pytest.fixture
def home(runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory of the test's own to work in, with a runtime directory of its own and no store named."""
    monkeypatch.delenv("CHKPT_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path
