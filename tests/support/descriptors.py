"""The file descriptors of this process: that a block leaves none open, and a process that has none left."""

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def open_descriptors() -> dict[str, str]:
    """Return what each open descriptor of this process is; two of them may be one file."""
    found = {}
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208  whose own descriptor is closed by the time it is asked for
        path = Path("/proc/self/fd") / number
        if path.is_symlink():
            found[number] = str(path.readlink())
    return found


@contextmanager
def none_left() -> Iterator[None]:
    """Hold that a block leaves the descriptors as they were.

    What another test left behind in a cycle, and with it a descriptor, is not collected meanwhile.
    """
    gc.disable()
    try:
        before = open_descriptors()
        yield
        assert open_descriptors() == before
    finally:
        gc.enable()


@contextmanager
def few_descriptors() -> Iterator[list[int]]:
    """Leave this process without a descriptor; what is closed of the list is free again.

    None becomes free by itself, when what another test left behind in a cycle is collected.
    """
    gc.disable()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = os.open("/dev/null", os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (top + 20, hard))
    taken = [top]
    try:
        while True:
            try:
                taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        yield taken
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        gc.enable()
