"""A pytest plugin for runs with a mutant: properties are tried fast and always alike, and no test runs for ever.

mutmut's own time-out is of all tests of a mutant together, and by the wall's clock: a mutant that hangs would cost a
minute, and one on a busy computer be called hung. Here each test has a budget of its own, of processor time.
"""

import os
import resource
import signal
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

TEST_SECONDS = 3.0  # of processor time; the longest test takes under two
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


def _give_up(_signal: int, _frame: object) -> None:
    os._exit(TIMED_OUT)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """End the process of a mutant when one test has used up its processor time."""
    if "__mutmut_" not in os.environ.get("MUTANT_UNDER_TEST", ""):
        return (yield)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGVTALRM, _give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, TEST_SECONDS)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
