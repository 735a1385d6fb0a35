"""The model of a disk whose power is cut, and that a save which syncs too little is found on it."""

from pathlib import Path

import pytest

from tests.lab.reliability.power import Disk, Image, distinct
from tests.lab.reliability.save_power import Operation, Step, _replay, operations
from tests.lab.reliability.strace import parse
from tests.lab.reliability.tally import Tally


def left(disk: Disk) -> list[Image]:
    return distinct(disk.images())


def test_what_is_not_synced_may_be_there_or_not() -> None:
    disk = Disk({})
    disk.make("a")
    assert left(disk) == [{}, {"a": b""}]
    disk.sync("")
    assert left(disk) == [{"a": b""}]
    disk.write("a", b"12")
    disk.write("a", b"34")
    contents = {image["a"] for image in left(disk)}
    assert contents == {b"", b"1", b"12", b"123", b"1234", b"\0\x0034", b"12\0\0", b"\0\0\0\0"}
    disk.sync("a")
    assert left(disk) == [{"a": b"1234"}]


def test_changes_to_a_directory_are_lost_in_any_order() -> None:
    disk = Disk({"a": b"1"})
    disk.link("a", "b")
    disk.unlink("a")
    assert {tuple(sorted(image)) for image in left(disk)} == {("a",), ("a", "b"), (), ("b",)}
    disk.sync("")
    assert left(disk) == [{"b": b"1"}]


def test_a_rename_is_done_or_not_done() -> None:
    disk = Disk({"new": b"new", "old": b"old"})
    disk.rename("new", "old")
    assert left(disk) == [{"new": b"new", "old": b"old"}, {"old": b"new"}]
    with pytest.raises(ValueError, match="another directory"):
        Disk({"a": b"", "b": None}).rename("a", "b/a")


def test_two_names_of_a_file_have_one_content() -> None:
    disk = Disk({"a": b""})
    disk.link("a", "b")
    disk.sync("")
    disk.write("a", b"x")
    assert left(disk) == [{"a": b"", "b": b""}, {"a": b"x", "b": b"x"}, {"a": b"\0", "b": b"\0"}]


def test_what_lies_in_a_directory_that_is_lost_is_lost_with_it() -> None:
    disk = Disk({})
    disk.make_directory("d")
    disk.make("d/a")
    disk.sync("d")
    assert left(disk) == [{}, {"d": None, "d/a": b""}]


SAVE = [
    Operation("make", ("t",)),
    Operation("write", ("t",), b"new"),
    Operation("sync", ("t",)),
    Operation("rename", ("t", "x.zst")),
    Operation("sync", ("",)),
]


@pytest.mark.parametrize("missing", [None, 2, 4])
def test_a_save_that_syncs_too_little_is_found(missing: int | None) -> None:
    before = {"x.zst": b"old", "y.zst": b"other"}
    done = [operation for number, operation in enumerate(SAVE) if number != missing]
    tally = Tally()
    _replay(tally, Disk(before), Step("save x", done, before, {**before, "x.zst": b"new"}), None)
    assert bool(tally.broken) == (missing is not None)
    assert tally.total > 5


TRACE = r"""
1.0 openat(AT_FDCWD<\x2f>, "\x2f\x72\x2f\x64", O_RDONLY|O_DIRECTORY) = 3<\x2f\x72\x2f\x64>
2.0 openat(3<\x2f\x72\x2f\x64>, "\x74", O_WRONLY|O_CREAT|O_EXCL, 0600) = 4<\x2f\x72\x2f\x64\x2f\x74>
3.0 write(4<\x2f\x72\x2f\x64\x2f\x74>, "\x3e\x2c\x22", 3) = 2
4.0 write(5<\x70\x69\x70\x65>, "\x00", 1) = 1
5.0 fsync(4<\x2f\x72\x2f\x64\x2f\x74>) = -1 EIO (Input/output error) (INJECTED)
6.0 fsync(4<\x2f\x72\x2f\x64\x2f\x74>) = 0
7.0 linkat(3<\x2f\x72\x2f\x64>, "\x74", 3<\x2f\x72\x2f\x64>, "\x75", AT_SYMLINK_FOLLOW) = 0
8.0 unlinkat(3<\x2f\x72\x2f\x64>, "\x74", 0) = 0
9.0 fsync(3<\x2f\x72\x2f\x64>) = 0
10.0 mkdir("\x2f\x72\x2f\x65", 0700) = 0
11.0 fsync(3<\x2f\x72>) = 0
12.0 renameat(3<\x2f\x72\x2f\x64>, "\x75", 3<\x2f\x72\x2f\x64>, "\x76") = 0
13.0 +++ exited with 0 +++
"""


def test_recorded_calls_are_operations_on_the_disk() -> None:
    assert operations(parse(TRACE, 1), Path("/r")) == [
        Operation("make", ("d/t",)),
        Operation("write", ("d/t",), b">,"),
        Operation("sync", ("d/t",)),
        Operation("link", ("d/t", "d/u")),
        Operation("unlink", ("d/t",)),
        Operation("sync", ("d",)),
        Operation("make_directory", ("e",)),
        Operation("sync", (".",)),
        Operation("rename", ("d/u", "d/v")),
    ]


def test_a_call_that_the_model_does_not_know_is_an_error() -> None:
    with pytest.raises(ValueError, match="ftruncate is not in the model"):
        operations(parse(r"1.0 ftruncate(3<\x2f\x72\x2f\x61>, 0) = 0", 1), Path("/r"))


def test_calls_are_counted_by_name_and_tell_how_they_ended() -> None:
    calls = parse(TRACE, 1)
    assert [(call.number, call.failed, call.result) for call in calls if call.name == "fsync"] == [
        (1, True, "EIO"),
        (2, False, "0"),
        (3, False, "0"),
        (4, False, "0"),
    ]
