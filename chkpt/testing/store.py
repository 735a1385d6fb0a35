"""The tests that every store must pass."""

import threading
from collections.abc import Callable

import pytest

from chkpt.context import Checkpoint, Context, SparseBlob
from chkpt.errors import CorruptError, ExistsError, NotFoundError, StateError, UsageError
from chkpt.snapshot import Summary, Writable, dump, dumps
from chkpt.store import Store

RACERS = 8
ROUNDS = 5

NAMES = [
    "a",
    "with space",
    "a.b",
    "a.zst",
    "-a",
    "\N{GREEK SMALL LETTER PI}",
    "\U0001f4be",
    "x" * 200,
    "~",
    "a\\b",
    "'",
]
BAD_NAMES = [
    "",
    ".",
    "..",
    ".hidden",
    "a/b",
    "/",
    "a\0",
    "a\n",
    "\x1b[31m",
    "\x7f",
    "\x85",
    "x" * 201,
    "π" * 101,
    "\ud800",
]


def checkpoint(machine: str = "m", size: int = 1000) -> Checkpoint:
    """Return a checkpoint with something in it to be damaged; `machine` distinguishes two of them."""
    content = bytes(n * 7 % 251 + 1 for n in range(size))
    return Checkpoint(
        {"created": "2026-11-23T09:04:12Z", "machine": machine},
        {"a": Context("t", 1, {"machine": machine}, {"b": SparseBlob(size, 1 << 20, {0: content})})},
    )


class StoreContract:
    """Test what every store must do: a subclass, whose name begins with `Test`, inherits the tests.

    It supplies three fixtures: `store`, an empty store; `damage`, a function that flips a bit in the middle of the
    snapshot of a name; `encrypted`, a function that puts an encrypted snapshot of a name into the store. A store that
    takes no encrypted snapshots calls `pytest.skip` in the last.
    """

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store."""
        raise AssertionError("the subclass supplies the store")

    @pytest.fixture
    def damage(self, store: Store) -> Callable[[str], None]:
        """Return what flips a bit in the middle of a stored snapshot."""
        raise AssertionError("the subclass supplies what damages a snapshot")

    @pytest.fixture
    def encrypted(self, store: Store) -> Callable[[str], None]:
        """Return what puts an encrypted snapshot into the store."""
        raise AssertionError("the subclass supplies what puts an encrypted snapshot into the store")

    # -- to create and to open ----------------------------------------------------------------------------------------

    def test_what_was_created_can_be_loaded(self, store: Store) -> None:
        store.create("boot", checkpoint())
        loaded = store.load("boot")
        assert loaded.header["machine"] == "m"
        assert list(loaded.contexts) == list(checkpoint().contexts)
        with pytest.raises(NotFoundError):
            store.load("other")

    def test_what_was_created_can_be_opened(self, store: Store) -> None:
        summary = store.create("boot", checkpoint())
        with store.open("boot") as reader:
            assert reader.root_digest == summary.root_digest
            assert reader.size == summary.size
            assert reader.section("a").values == {"machine": "m"}

    def test_a_function_may_write_the_snapshot(self, store: Store) -> None:
        def write(file: Writable) -> Summary:
            return dump(checkpoint("by a function"), file)

        summary = store.create("boot", write)
        assert summary.size == len(dumps(checkpoint("by a function")))
        with store.open("boot") as reader:
            assert reader.header["machine"] == "by a function"

    def test_the_function_is_called_once_and_before_the_name_is_there(self, store: Store) -> None:
        seen: list[list[str]] = []

        def write(file: Writable) -> Summary:
            summary = dump(checkpoint(), file)
            seen.append([listing.name for listing in store.list()])
            return summary

        store.create("boot", write)
        assert seen == [[]]

    @pytest.mark.parametrize("name", NAMES)
    def test_a_name_may_be_any_text_that_a_file_can_have(self, store: Store, name: str) -> None:
        store.create(name, checkpoint(name))
        assert [listing.name for listing in store.list()] == [name]
        with store.open(name) as reader:
            assert reader.header["machine"] == name
        store.verify(name)
        store.remove(name)
        assert list(store.list()) == []

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_no_operation_takes_a_bad_name(self, store: Store, name: str) -> None:
        operations: list[Callable[[str], object]] = [
            lambda name: store.create(name, checkpoint()),
            lambda name: store.create(name, checkpoint(), force=True),
            store.open,
            store.verify,
            store.remove,
        ]
        for operation in operations:
            with pytest.raises(UsageError, match=r"^a snapshot cannot be named "):
                operation(name)
        assert list(store.list()) == []

    # -- an existing name ---------------------------------------------------------------------------------------------

    def test_a_taken_name_is_refused_and_keeps_its_snapshot(self, store: Store) -> None:
        store.create("boot", checkpoint("first"))
        with pytest.raises(ExistsError):
            store.create("boot", checkpoint("second"))
        with store.open("boot") as reader:
            assert reader.header["machine"] == "first"

    def test_a_taken_name_is_refused_before_anything_is_written(self, store: Store) -> None:
        store.create("boot", checkpoint())
        with pytest.raises(ExistsError):
            store.create("boot", lambda _: pytest.fail("it was called"))

    def test_force_replaces_a_snapshot(self, store: Store) -> None:
        store.create("boot", checkpoint("first"))
        store.create("boot", checkpoint("second"), force=True)
        with store.open("boot") as reader:
            assert reader.header["machine"] == "second"

    @pytest.mark.parametrize("force", [False, True])
    def test_a_name_that_an_encrypted_snapshot_has_is_refused(
        self, store: Store, encrypted: Callable[[str], None], force: bool
    ) -> None:
        encrypted("boot")
        with pytest.raises(ExistsError, match="there is a snapshot of that name already"):
            store.create("boot", lambda _: pytest.fail("it was called"), force=force)
        assert [(listing.name, listing.encrypted) for listing in store.list()] == [("boot", True)]
        store.create("other", checkpoint())

    def test_force_creates_a_snapshot(self, store: Store) -> None:
        store.create("boot", checkpoint(), force=True)
        store.verify("boot")

    def test_an_open_snapshot_outlives_its_name(self, store: Store) -> None:
        store.create("boot", checkpoint("first"))
        with store.open("boot") as reader:
            store.create("boot", checkpoint("second"), force=True)
            reader.verify()
            assert reader.section("a").values == {"machine": "first"}
        with store.open("boot") as reader:
            store.remove("boot")
            reader.verify()

    # -- failure ------------------------------------------------------------------------------------------------------

    def test_a_function_that_fails_leaves_nothing(self, store: Store) -> None:
        def write(file: Writable) -> Summary:
            file.write(b"the beginning")
            raise StateError("no")

        with pytest.raises(StateError, match=r"^no$"):
            store.create("boot", write)
        assert list(store.list()) == []
        store.create("boot", checkpoint())

    def test_a_function_that_fails_leaves_the_old_snapshot(self, store: Store) -> None:
        def write(file: Writable) -> Summary:
            file.write(b"the beginning")
            raise KeyboardInterrupt

        store.create("boot", checkpoint("first"))
        with pytest.raises(KeyboardInterrupt):
            store.create("boot", write, force=True)
        with store.open("boot") as reader:
            assert reader.header["machine"] == "first"

    def test_a_checkpoint_that_cannot_be_written_leaves_nothing(self, store: Store) -> None:
        with pytest.raises(StateError):
            store.create("boot", Checkpoint({}, {"a": Context(values={"x": 1 << 64})}))
        assert list(store.list()) == []

    # -- what is not there --------------------------------------------------------------------------------------------

    def test_an_empty_store_has_nothing(self, store: Store) -> None:
        assert list(store.list()) == []
        for operation in (store.open, store.verify, store.remove):
            with pytest.raises(NotFoundError, match=r"there is no snapshot named 'boot'$"):
                operation("boot")
        assert list(store.list()) == []

    def test_what_was_removed_is_gone_and_the_name_is_free(self, store: Store) -> None:
        store.create("boot", checkpoint())
        store.create("other", checkpoint())
        store.remove("boot")
        with pytest.raises(NotFoundError):
            store.open("boot")
        with pytest.raises(NotFoundError):
            store.remove("boot")
        assert [listing.name for listing in store.list()] == ["other"]
        store.create("boot", checkpoint())

    # -- lists --------------------------------------------------------------------------------------------------------

    def test_the_list_is_by_name_and_tells_of_each(self, store: Store) -> None:
        sizes = {}
        for name in ("c", "a", "b"):
            sizes[name] = store.create(name, checkpoint(f"machine {name}"))
        listings = store.list()
        assert [listing.name for listing in listings] == ["a", "b", "c"]
        for listing in listings:
            assert listing.size == sizes[listing.name].size
            assert listing.root_digest == sizes[listing.name].root_digest
            assert listing.machine == f"machine {listing.name}"
            assert listing.created == "2026-11-23T09:04:12Z"
            assert listing.problem == ""

    def test_a_snapshot_of_no_machine_is_listed(self, store: Store) -> None:
        store.create("a", Checkpoint())
        store.create("b", Checkpoint({"machine": 5}))
        assert [(listing.name, listing.machine, listing.problem) for listing in store.list()] == [
            ("a", "", ""),
            ("b", "", ""),
        ]

    # -- damage -------------------------------------------------------------------------------------------------------

    def test_verify_accepts_what_is_whole(self, store: Store) -> None:
        store.create("boot", checkpoint())
        store.verify("boot")

    def test_verify_finds_damage(self, store: Store, damage: Callable[[str], None]) -> None:
        store.create("boot", checkpoint())
        damage("boot")
        with pytest.raises(CorruptError):
            store.verify("boot")

    # -- races --------------------------------------------------------------------------------------------------------

    def test_one_of_many_threads_gets_the_name(self, store: Store) -> None:
        for number in range(ROUNDS):
            name = f"race {number}"
            outcomes = race(lambda racer, name=name: store.create(name, checkpoint(str(racer), 3000)))  # type: ignore[misc]  # a default binds the loop's name
            winners = [racer for racer, outcome in outcomes.items() if outcome is None]
            assert len(winners) == 1
            assert {type(outcome) for outcome in outcomes.values()} == {type(None), ExistsError}
            store.verify(name)
            with store.open(name) as reader:
                assert reader.header["machine"] == str(winners[0])
        assert len(store.list()) == ROUNDS

    def test_many_threads_that_force_one_name_leave_one_of_their_snapshots(self, store: Store) -> None:
        outcomes = race(lambda racer: store.create("boot", checkpoint(str(racer), 3000), force=True))
        assert set(outcomes.values()) == {None}
        store.verify("boot")
        with store.open("boot") as reader:
            assert reader.header["machine"] in {str(racer) for racer in range(RACERS)}

    def test_a_reader_sees_one_whole_snapshot_or_the_other(self, store: Store) -> None:
        store.create("boot", checkpoint("-1"))
        done = threading.Event()
        faults: list[BaseException] = []

        def read() -> None:
            try:
                while not done.is_set():
                    store.verify("boot")
            except BaseException as exc:  # noqa: BLE001  it is reported below
                faults.append(exc)

        reading = threading.Thread(target=read)
        reading.start()
        try:
            for number in range(20):
                store.create("boot", checkpoint(str(number)), force=True)
        finally:
            done.set()
            reading.join()
        assert faults == []


def race(run: Callable[[int], object]) -> dict[int, BaseException | None]:
    """Call `run` with each racer's number from as many threads at once, and return what each ended with."""
    outcomes: dict[int, BaseException | None] = {}
    start = threading.Barrier(RACERS)

    def enter(racer: int) -> None:
        start.wait()
        try:
            run(racer)
        except BaseException as exc:  # noqa: BLE001  it is what the caller wants to know
            outcomes[racer] = exc
        else:
            outcomes[racer] = None

    threads = [threading.Thread(target=enter, args=(racer,)) for racer in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
