"""The MC146818A's time and calendar bytes, and how an update cycle advances them.

Source: Motorola MC146818A datasheet (MC146818A/D), table 2, "Time, Calendar, and Alarm Data Modes". The bytes stay
as the program wrote them: a change of the mode bits does not convert them. Values that the table does not list count on
until they reach one of its limits.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

DAYS_IN_MONTH: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
DAY: Final = 24 * 60 * 60
EPOCH: Final = datetime(2000, 1, 1)  # noqa: DTZ001  the calendar has no zone
CENTURY_DAYS: Final = 36_525  # in a hundred years, if every fourth is a leap year
PM: Final = 0x80  # of the hours in 12-hour mode

SECONDS, MINUTES, HOURS, DAY_OF_WEEK, DAY_OF_MONTH, MONTH, YEAR = range(7)  # places in `Calendar.bytes`

WRITABLE: Final = {SECONDS: 0x7F}
"""The bits of the bytes that do not have all eight (datasheet, "Address Map")."""


@dataclass(frozen=True, slots=True)
class Modes:
    """Register B's DM and 24/12: how the bytes are to be read."""

    binary: bool
    hours_24: bool

    def encode(self, value: int) -> int:
        """Return a number from 0 to 99 in the form of the bytes, BCD or binary."""
        return value if self.binary else value // 10 << 4 | value % 10

    def decode(self, byte: int) -> int:
        """Return the number that a byte stands for."""
        return byte if self.binary else (byte >> 4) * 10 + (byte & 0xF)

    def next(self, byte: int) -> int:
        """Return the byte after `byte`, whatever it holds."""
        if self.binary or byte & 0xF < 9:
            return byte + 1 & 0xFF
        return (byte | 0xF) + 1 & 0xFF


class Calendar:
    """Seconds, minutes, hours, day of the week, day of the month, month and year."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = bytearray(7)

    def set(self, when: datetime, modes: Modes) -> None:
        """Show this time."""
        values = (when.second, when.minute, when.hour, when.isoweekday() % 7 + 1, when.day, when.month, when.year % 100)
        self.bytes[:] = bytes(map(modes.encode, values))

    def advance(self, modes: Modes) -> None:
        """Go on by a second."""
        if self._carry(SECONDS, 0, 59, modes) and self._carry(MINUTES, 0, 59, modes) and self._next_hour(modes):
            self._carry(DAY_OF_WEEK, 1, 7, modes)
            if self._carry(DAY_OF_MONTH, 1, self._count_days(modes), modes) and self._carry(MONTH, 1, 12, modes):
                self._carry(YEAR, 0, 99, modes)

    def skip(self, seconds: int, modes: Modes) -> bool:
        """Go on by so many seconds at once, and return True. Bytes that are not a date stay as they are."""
        date = self._read_date(modes)
        if date is None:
            return False
        since = (date - EPOCH) // timedelta(seconds=1)
        later = EPOCH + timedelta(seconds=(since + seconds) % (CENTURY_DAYS * DAY))
        days = (since % DAY + seconds) // DAY
        shown = self.bytes[DAY_OF_WEEK]
        day_of_week = modes.decode(shown)
        self.set(later, modes)
        if not modes.hours_24:
            self.bytes[HOURS] = modes.encode((later.hour - 1) % 12 + 1) | (PM if later.hour >= 12 else 0)
        self.bytes[DAY_OF_WEEK] = modes.encode((day_of_week - 1 + days) % 7 + 1) if 1 <= day_of_week <= 7 else shown
        return True

    def _read_date(self, modes: Modes) -> datetime | None:
        """Return the date that is shown, of the years 2000 to 2099; None if the bytes are not a date."""
        values = [modes.decode(byte) for byte in self.bytes]
        if not modes.hours_24:
            pm, hours = self.bytes[HOURS] & PM, modes.decode(self.bytes[HOURS] & ~PM)
            if not 1 <= hours <= 12:
                return None
            values[HOURS] = hours % 12 + (12 if pm else 0)
        try:
            date = datetime(  # noqa: DTZ001  the calendar has no zone
                2000 + values[YEAR],
                values[MONTH],
                values[DAY_OF_MONTH],
                values[HOURS],
                values[MINUTES],
                values[SECONDS],
            )
        except ValueError:
            return None
        return date if values[YEAR] <= 99 else None

    def _carry(self, place: int, first: int, last: int, modes: Modes) -> bool:
        """Advance one byte, and return whether it has gone from its last value to its first."""
        byte = self.bytes[place]
        over = byte == modes.encode(last)
        self.bytes[place] = (modes.encode(first) if over else modes.next(byte)) & WRITABLE.get(place, 0xFF)
        return over

    def _next_hour(self, modes: Modes) -> bool:
        """Advance the hours, and return whether a day is over."""
        if modes.hours_24:
            return self._carry(HOURS, 0, 23, modes)
        hours = self.bytes[HOURS]
        pm = hours & PM
        hours &= ~PM
        if hours == modes.encode(12):
            self.bytes[HOURS] = pm | modes.encode(1)
        elif hours == modes.encode(11):
            self.bytes[HOURS] = (pm ^ PM) | modes.encode(12)
            return bool(pm)
        else:
            self.bytes[HOURS] = pm | modes.next(hours) & ~PM
        return False

    def _count_days(self, modes: Modes) -> int:
        """Return how many days this month has. Every fourth year is a leap year; an unknown month has 31."""
        month = modes.decode(self.bytes[MONTH])
        if month == 2 and modes.decode(self.bytes[YEAR]) % 4 == 0:
            return 29
        return DAYS_IN_MONTH[month - 1] if 1 <= month <= 12 else 31
