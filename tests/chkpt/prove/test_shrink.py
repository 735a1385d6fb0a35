"""A finding is made as short and as simple as it can be, and stays the same finding."""

from chkpt.grammar import In, Insw, Out, Outsw, Receive, Step, Wait
from chkpt.prove import Divergence, Experiment, Symptom
from chkpt.prove.attributes import Attribute
from chkpt.prove.shrink import MAX_STEPS, shrink

NOISE = (In(1), Out(2, 3), Wait(40), In(4), Out(5, 6))


class Trial:
    """Shows a divergence at the first step `cause` after the cut, if all of `needs` was done before it."""

    def __init__(self, needs: set[Step], cause: Step, what: Symptom = Symptom.ANSWER, device: str = "d") -> None:
        self.needs = needs
        self.cause = cause
        self.found = Divergence(what, 0, "a", "b", (Attribute(device, "x", "1", "2"),))
        self.steps = 0

    def __call__(self, experiment: Experiment) -> Divergence | None:
        self.steps += len(experiment)
        for number, step in enumerate(experiment.after):
            done = {*experiment.used, *experiment.before, *experiment.after[:number]}
            if step == self.cause and self.needs <= done:
                return Divergence(self.found.what, number, "a", "b", self.found.attributes)
        return None


def shrunk(trial: Trial, experiment: Experiment) -> Experiment:
    found = trial(experiment)
    assert found is not None
    return shrink(experiment, found, trial)[0]


def test_only_the_steps_that_matter_are_left() -> None:
    needs: set[Step] = {Out(7, 0), Wait(0)}
    before = (*NOISE, Out(7, 0), *NOISE, Wait(0), *NOISE)
    assert shrunk(Trial(needs, In(9)), Experiment(before, (*NOISE, In(9), *NOISE))) == Experiment(
        (Out(7, 0), Wait(0)), (In(9),)
    )


def test_the_cut_moves_to_the_last_step() -> None:
    trial = Trial({Out(7, 0)}, In(9))
    assert shrunk(trial, Experiment((), (*NOISE, Out(7, 0), In(9)))) == Experiment((Out(7, 0),), (In(9),))


def test_the_steps_of_a_machine_in_use_are_kept_only_where_they_matter() -> None:
    assert shrunk(Trial(set(), In(9)), Experiment(NOISE, (In(9),), used=NOISE)).used == ()

    class NeedsUse(Trial):
        def __call__(self, experiment: Experiment) -> Divergence | None:
            return super().__call__(experiment) if Out(2, 3) in experiment.used else None

    assert shrunk(NeedsUse(set(), In(9)), Experiment(NOISE, (In(9),), used=NOISE)).used == (Out(2, 3),)


def test_values_become_simple() -> None:
    class AnyOut(Trial):
        def __call__(self, experiment: Experiment) -> Divergence | None:
            simple = [step for step in experiment.before if isinstance(step, Out) and step.value & 8]
            rest = {type(step) for step in experiment.before} >= {Out, Wait, Receive, Insw, Outsw}
            return self.found if simple and rest and experiment.after else None

    before = (Out(1, 0xFF, 4), Wait(123_456), Receive("c", b"abc", 4), Insw(3, 300), Outsw(3, b"\x01\x02\x03\x04"))
    assert shrunk(AnyOut(set(), In(9)), Experiment(before, (In(9, 2),))) == Experiment(
        (Out(1, 8), Wait(0), Receive("c", b""), Insw(3, 0), Outsw(3, b"")), (In(9),)
    )


def test_another_finding_is_not_taken_for_it() -> None:
    class Two(Trial):
        """Shows another hole when the step that matters is left out."""

        def __call__(self, experiment: Experiment) -> Divergence | None:
            if not experiment.after:
                return None
            if Out(2, 3) in experiment.before:
                return self.found
            return Divergence(Symptom.ANSWER, 0, "a", "b", (Attribute("other", "y", "1", "2"),))

    assert Out(2, 3) in shrunk(Two(set(), In(9)), Experiment(NOISE, (In(9),))).before


def test_the_work_is_bounded() -> None:
    trial = Trial({Out(7, 0), *(Out(port, 1 << 31) for port in range(100, 300))}, In(9))
    many = tuple(Out(port, 1 << 31) for port in range(100, 300))
    shrunk(trial, Experiment((Out(7, 0), *many * 10), (In(9),)))
    assert trial.steps < MAX_STEPS + 2 * 2002
