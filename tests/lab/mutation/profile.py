"""A pytest plugin for runs of mutmut, which runs pytest in one process again and again, and in forks of it.

Properties are tried fast and always alike, no test runs for ever, and nothing stays from the run before.
"""

import os
import resource
import signal
import time
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import Phase, settings

from chkpt.state.layout import layout_of

TEST_SECONDS = 8.0  # of processor time, at least twice what any test takes
MEMORY = 4 << 30  # bytes of address space: a shift the wrong way asks for all there is
TIMED_OUT = 36  # the exit status that mutmut counts as timed out

settings.register_profile(
    "mutants",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    phases=[Phase.explicit, Phase.generate],  # the first example that fails is enough: none is made smaller
)
settings.load_profile("mutants")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let pytest make each test's id anew.

    It keeps the ids it made, and escapes their backslashes once more whenever it collects. A test that mutmut cannot
    find under the id of the first run would count as one that fails, and every mutant as killed.
    """
    for mark in metafunc.definition.iter_markers("parametrize"):
        source: Any = mark._param_ids_from
        if source is not None:
            object.__setattr__(source, "_param_ids_generated", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Begin with no layout read, by a mutant or not. End a mutant's process when a test has used up its time.

    mutmut's own limit is of all tests together and by the wall's clock: each endless loop would cost a minute, and on a
    busy computer a slow test be called endless.
    """
    layout_of.cache_clear()  # type: ignore[attr-defined] # it is typed as what it keeps
    if "__mutmut_" not in os.environ.get("MUTANT_UNDER_TEST", ""):
        begun = time.process_time()
        done = yield
        clean = os.environ.get("MUTANT_UNDER_TEST") == ""  # else it is slower: mutmut notes who calls whom
        if clean and time.process_time() - begun > TEST_SECONDS / 2:
            raise RuntimeError("a test without a mutant takes more than half of its time: it would be called endless")
        return done
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGVTALRM, _give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, TEST_SECONDS)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _give_up(_signal: int, _frame: object) -> None:
    os._exit(TIMED_OUT)
