"""The keyboard at the other end of the 8042's cable: its commands, its buffer, and the keys that type a text.

Source: IBM PC AT Technical Reference (6280070), "Keyboard", and IBM Personal System/2 Hardware Interface Technical
Reference, "Keyboard (101- and 102-Key)". It has scan code sets 1 and 2. It refuses set 3, as an
AT's does, and acknowledges commands that act on set 3 alone, as in the other sets. It acknowledges LEDs and typematic
rate, which have no effect and are not kept. No key is ever held down.
"""

from typing import Final

BUFFER: Final = 16
"""The most scan codes that wait. The next one becomes OVERRUN, and those after it are lost."""

OVERRUN: Final = {1: 0xFF, 2: 0x00}
BREAK: Final = 0xF0  # in set 2, before the code of a key that is released

# Commands and answers
SET_LEDS, ECHO, SCAN_SET, IDENTIFY, TYPEMATIC, ENABLE, DISABLE, DEFAULT = 0xED, 0xEE, 0xF0, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6
SET_3_ALL: Final = (0xF7, 0xF8, 0xF9, 0xFA)
SET_3_KEY: Final = (0xFB, 0xFC, 0xFD)
RESEND, RESET = 0xFE, 0xFF
ACK, BAT_PASSED = 0xFA, 0xAA
IDENTITY: Final = (0xAB, 0x83)
WITH_PARAMETER: Final = (SET_LEDS, SCAN_SET, TYPEMATIC, *SET_3_KEY)

# Set 2 to set 1, as the 8042 translates each byte below 0x80; of the others it changes only 0x83 and 0x84.
SET_1: Final = bytes.fromhex(
    "ff43413f3d3b3c58644442403e0f295965382a701d10025a66712c1f1e11035b"
    "672e2d201205045c68392f211413065d693130232215075e6a7232241608095f"
    "6b332517180b0a606c34352627190c616d7328741a0d626e3a361c1b752b6376"
    "55567778797a0e7b7c4f7d4b477e7f6f5253504c4d480145574e514a37494654"
)

SHIFT, CONTROL = 0x12, 0x14
_KEYS: Final = {
    "`~": 0x0E, "1!": 0x16, "2@": 0x1E, "3#": 0x26, "4$": 0x25, "5%": 0x2E, "6^": 0x36, "7&": 0x3D, "8*": 0x3E,
    "9(": 0x46, "0)": 0x45, "-_": 0x4E, "=+": 0x55, "qQ": 0x15, "wW": 0x1D, "eE": 0x24, "rR": 0x2D, "tT": 0x2C,
    "yY": 0x35, "uU": 0x3C, "iI": 0x43, "oO": 0x44, "pP": 0x4D, "[{": 0x54, "]}": 0x5B, "\\|": 0x5D, "aA": 0x1C,
    "sS": 0x1B, "dD": 0x23, "fF": 0x2B, "gG": 0x34, "hH": 0x33, "jJ": 0x3B, "kK": 0x42, "lL": 0x4B, ";:": 0x4C,
    "'\"": 0x52, "zZ": 0x1A, "xX": 0x22, "cC": 0x21, "vV": 0x2A, "bB": 0x32, "nN": 0x31, "mM": 0x3A, ",<": 0x41,
    ".>": 0x49, "/?": 0x4A, " ": 0x29, "\t": 0x0D, "\r": 0x5A, "\n": 0x5A, "\x1b": 0x76, "\x7f": 0x66, "\b": 0x66,
}  # fmt: skip
"""A US keyboard: the characters of a key, without and with Shift, and its code in set 2."""


def _strokes() -> dict[int, tuple[int, int | None]]:
    """Return the key that types each character, and the key that is held meanwhile."""
    strokes: dict[int, tuple[int, int | None]] = {}
    for characters, key in _KEYS.items():
        strokes[ord(characters[0])] = key, None
        if len(characters) == 2:
            strokes[ord(characters[1])] = key, SHIFT
        if characters[0].isalpha():
            strokes.setdefault(ord(characters[0]) & 0x1F, (key, CONTROL))
    return {**strokes, **{ord(each): (_KEYS[each], None) for each in "\t\r\n\b"}}


STROKES: Final = _strokes()
LONGEST_STROKE: Final = 6  # bytes of set 2: a key within another, each pressed and released


def stroke(character: int, scan_set: int) -> bytes:
    """Return the scan codes that type a character; none if no key does."""
    if character not in STROKES:
        return b""
    key, held = STROKES[character]
    make = bytes((key,)) if scan_set == 2 else SET_1[key : key + 1]
    typed = make + break_code(make, scan_set)
    if held is None:
        return typed
    hold = bytes((held,)) if scan_set == 2 else SET_1[held : held + 1]
    return hold + typed + break_code(hold, scan_set)


def break_code(make: bytes, scan_set: int) -> bytes:
    """Return the codes of a key's release. `make` are the codes of its press."""
    return bytes((BREAK, make[0])) if scan_set == 2 else bytes((make[0] | 0x80,))


class Keyboard:
    """The keyboard. It sends one byte at a time, its answers before its keys."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Go to the state after power-on, but for the byte that reports a passed self-test."""
        self.answers = bytearray()
        self.last_sent = 0
        self.parameter_of = 0  # the command that waits for its second byte; 0: none
        self._default()

    def _default(self) -> None:
        self.keys = bytearray()
        self.scan_set = 2
        self.scanning = True

    # -- from the system ----------------------------------------------------------------------------------------------

    def command(self, value: int) -> None:
        """Take a byte from the system. Answers that wait are dropped."""
        self.answers.clear()
        command, self.parameter_of = self.parameter_of, 0
        if command and value < SET_LEDS:  # a command in place of a parameter is a command
            self._parameter(command, value)
        elif value in WITH_PARAMETER:
            self.parameter_of = value
            self.answers.append(ACK)
        else:
            answer = self._do(value)
            self.answers += answer

    def _do(self, command: int) -> bytes:
        """Carry out a command of one byte, and return what is answered."""
        if command == ECHO:
            return bytes((ECHO,))
        if command == IDENTIFY:
            return bytes((ACK, *IDENTITY))
        if command == RESEND:
            return bytes((self.last_sent,))
        if command == RESET:
            self.reset()
            return bytes((ACK, BAT_PASSED))
        if command in {ENABLE, DISABLE, DEFAULT}:
            if command == ENABLE:
                self.keys.clear()
                self.scanning = True
            else:
                scanning = self.scanning and command != DISABLE
                self._default()
                self.scanning = scanning
            return bytes((ACK,))
        return bytes((ACK if command in SET_3_ALL else RESEND,))

    def _parameter(self, command: int, value: int) -> None:
        if command != SCAN_SET:
            self.answers.append(ACK)
        elif not value:
            self.answers += bytes((ACK, self.scan_set))
        elif value in OVERRUN:
            self.keys.clear()
            self.scan_set = value
            self.answers.append(ACK)
        else:
            self.answers.append(RESEND)

    # -- keys ---------------------------------------------------------------------------------------------------------

    def room(self, *, text: bool) -> int:
        """Return how many bytes of scan codes, or how many characters of a text, fit into the buffer."""
        if not self.scanning:
            return 0
        room = max(0, BUFFER - len(self.keys))
        return room // LONGEST_STROKE if text else room

    def press(self, codes: bytes) -> None:
        """Put scan codes into the buffer. Those without room overrun."""
        if self.scanning:
            self.keys += codes
            if len(self.keys) > BUFFER:
                self.keys[BUFFER:] = bytes((OVERRUN[self.scan_set],))

    def type(self, text: bytes) -> None:
        """Press and release the keys that type a text."""
        for character in text:
            self.press(stroke(character, self.scan_set))

    # -- to the system ------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether there is a byte to send."""
        return bool(self.answers or self.keys)

    def send(self) -> int:
        """Return the next byte, and remember it for RESEND."""
        self.last_sent = (self.answers or self.keys).pop(0)
        return self.last_sent
