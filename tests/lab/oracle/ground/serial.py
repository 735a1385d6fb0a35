"""What is not sent to the 16550A."""

from typing import Final

from chkpt_devices.serial.registers import LOOPED
from tests.lab.oracle.case import Case
from tests.lab.oracle.ground.limit import Limit


def _reset_without_fifos(case: Case) -> bool:
    sent = case.sent
    return sent.writes and sent.port == 0x3FA and not (sent.value | case.before.serial.fcr) & 1 and bool(sent.value & 6)


def _modem_interrupt(case: Case) -> bool:
    sent, state = case.sent, case.before.serial
    if not sent.writes:
        return False
    if sent.port == 0x3F9:
        return not state.lcr & 0x80 and bool(sent.value & 8 and state.msr & 0x0F)
    if sent.port != 0x3FC or not state.ier & 8:
        return False
    lines = LOOPED[sent.value & 0x1F] if sent.value & 0x10 else state.modem_lines
    return lines != state.msr & 0xF0


def _looped_break(case: Case) -> bool:
    sent, state = case.sent, case.before.serial
    if not sent.writes or sent.port not in {0x3FB, 0x3FC}:
        return False
    lcr = sent.value if sent.port == 0x3FB else state.lcr
    mcr = sent.value if sent.port == 0x3FC else state.mcr
    return bool(lcr & 0x40 and mcr & 0x10)


def _rounded_timeout(case: Case) -> bool:
    if case.sent.verb != "clock_step" or not case.before.has("serial"):
        return False
    ours, theirs = case.before.serial.timeout_deadline, case.theirs.uart.deadline
    end = case.before.now + case.sent.value
    return ours is not None and theirs is not None and min(ours, theirs) <= end < max(ours, theirs)


LIMITS: Final = (
    Limit(
        "reset-without-fifos",
        "serial",
        "FCR's reset bits act without bit 0",
        "16550D 8.5: they are not programmed then",
        _reset_without_fifos,
    ),
    Limit(
        "modem-interrupt-in-loopback",
        "serial",
        "no deltas in loopback, so no interrupt",
        "16550D 8.8: the modem control interrupts work",
        _modem_interrupt,
    ),
    Limit("break-in-loopback", "serial", "a break is not received", "16550D 8.1 and 8.8", _looped_break),
    Limit(
        "rounded-time-out",
        "serial",
        "character times are computed in C's float, and five bits with STB have two stop bits",
        "16550D 8.1: a step that ends between the two time-outs would tell",
        _rounded_timeout,
    ),
)
