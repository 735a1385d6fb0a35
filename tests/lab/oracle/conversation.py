"""One conversation with both machines: what is sent, what both answer, and what is made of the differences."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from chkpt.interop.trace import Difference, Exchange
from tests.lab.oracle.case import Case
from tests.lab.oracle.command import Command, parsed
from tests.lab.oracle.ground import held_back
from tests.lab.oracle.lines import Edge, Lines, edges
from tests.lab.oracle.ours import Ours, View
from tests.lab.oracle.rules import dropped, excused_bits, excused_edges
from tests.lab.oracle.theirs import Theirs


class Peer(Protocol):
    """What a conversation wants of QEMU: to be given a command, and to be asked for its answer later."""

    def put(self, command: str) -> None:
        """Take a command."""

    def take(self, command: str) -> list[str]:
        """Return the answer lines of the command, any `IRQ` lines first."""


@dataclass(slots=True)
class Outcome:
    """What a conversation has brought."""

    exchanges: list[Exchange] = field(default_factory=list)  # what was sent, as QEMU answered it
    excused: Counter[str] = field(default_factory=Counter)  # differences by rule
    held_back: Counter[str] = field(default_factory=Counter)  # commands by limit
    difference: Difference | None = None  # the first that no rule explains


AHEAD: Final = 64
"""Commands that are sent before their answers are taken: the answers fit into the socket, so nobody waits in a ring."""


class Conversation:
    """A conversation with QEMU and with us, both at power-on."""

    def __init__(self, qemu: Peer, ours: Ours, devices: tuple[str, ...]) -> None:
        """Begin; `devices` are those that will be spoken to."""
        self.outcome = Outcome()
        self._qemu = qemu
        self._ours = ours
        self._devices = devices
        self._sent = Theirs()  # as it is after the commands sent
        self._compared = Theirs()  # as it is after the commands whose answers were compared
        self._waiting: deque[tuple[Case, list[str]]] = deque()  # sent: what we answered
        self._lines = Lines()
        self._group = ""

    def hold(self, commands: Iterable[str], most: int) -> Outcome:
        """Send commands, `most` of them at most, until one is answered otherwise and no rule explains it."""
        sent = 0
        for command in commands:
            if sent == most or self.outcome.difference is not None:
                break
            sent += self._send(parsed(command))
        self._compare()
        return self.outcome

    def _send(self, sent: Command) -> bool:
        """Send a command to both, unless a limit holds it back."""
        before = View(self._ours.machine, self._devices)
        case = Case(sent, before, before, self._sent)
        limit = held_back(case)
        if limit is not None:
            self.outcome.held_back[limit.name] += 1
            return False
        self._qemu.put(sent.text)
        try:
            answer = self._ours.send(sent.text)
        except ValueError as exc:  # a command of a shorthand was refused
            answer = [str(exc)]
        case.after = View(self._ours.machine, self._devices)
        self._sent.observe(sent, before, case.after)
        self._waiting.append((case, answer))
        if len(self._waiting) == AHEAD or sent.words > 2 or sent.verb == "await_ready":
            self._compare()
        return True

    def _compare(self) -> None:
        """Take QEMU's answers to all that was sent, and compare them up to the first difference."""
        while self._waiting and self.outcome.difference is None:
            case, ours = self._waiting.popleft()
            sent = case.sent
            theirs = self._qemu.take(sent.text)
            case.theirs = self._compared
            case.theirs.observe(sent, case.before, case.after)
            if sent.verb.startswith("irq_intercept"):
                self._group = sent.text
            self.outcome.exchanges.append(Exchange(sent.text, tuple(theirs)))
            if not (self._same_edges(case, ours, theirs) and self._same_answer(case, ours[-1], theirs[-1])):
                number = len(self.outcome.exchanges) - 1
                self.outcome.difference = Difference(number, sent.text, tuple(theirs), tuple(ours))

    def _same_answer(self, case: Case, ours: str, theirs: str) -> bool:
        if ours == theirs:
            return True
        if not ours.startswith("OK 0x") or not theirs.startswith("OK 0x"):
            return False
        case.ours_value, case.theirs_value = _value(case.sent, ours), _value(case.sent, theirs)
        excused = excused_bits(case)
        self.outcome.excused.update(excused.keys())
        return sum(excused.values()) == case.differing

    def _same_edges(self, case: Case, ours: list[str], theirs: list[str]) -> bool:
        told = edges(ours), edges(theirs)
        rules: set[str] = set()
        kept = self._kept(case, told[0], rules), self._kept(case, told[1], rules)
        if told[0] != told[1]:
            self.outcome.excused.update(rules)
        if not self._lines.match(*kept, in_order=kept == told):
            return False
        for number, (case.ours_owed, case.theirs_owed) in self._lines.waiting.items():
            case.line = (self._group, number)
            rule = excused_edges(case)
            if rule is None:
                return False
            self.outcome.excused[rule] += 1
        return True

    def _kept(self, case: Case, told: list[Edge], rules: set[str]) -> list[Edge]:
        """Leave out the edges that have no partner, and add to `rules` by which."""
        without: set[Edge] = set()
        for edge in set(told):
            case.line = (self._group, edge[0])
            rule = dropped(case, edge[1])
            if rule is not None:
                without.add(edge)
                rules.add(rule)
        return [edge for edge in told if edge not in without] if without else told


def _value(sent: Command, answer: str) -> int:
    """Return the number of an answer; of a run of words, the first lowest."""
    digits = answer.removeprefix("OK 0x")
    return int.from_bytes(bytes.fromhex(digits), "little") if sent.verb == "insw" else int(digits, 16)
