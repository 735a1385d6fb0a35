"""Attacks on the msgpack inside the frames."""

from dataclasses import replace
from typing import Final

from chkpt.errors import LimitError
from tests.attacks.parts import CLOCK, GOOD, Attack, Make, child, clock, good, in_header, in_value, later
from tests.support.handmade import File, pack, section

MIB: Final = 1 << 20
DEEP: Final = b"\x91" * 70 + b"\x01"
MANY: Final = "more than 131072 values or 1048576 bytes of text in one frame"
LONG: Final = pack(bytes(9000))


def nested(depth: int) -> dict[str, object]:
    """Return the contexts `b` in `b` in `b`."""
    value: dict[str, object] = {}
    for _ in range(depth):
        value = {"contexts": {"b": value}}
    return value


def a_million_contexts() -> bytes:
    return (
        b"\x81"
        + pack("contexts")
        + b"\xdf\x00\x0f\x42\x40"
        + b"".join(b"\xa5" + b"%05x" % number + b"\x80" for number in range(1_000_000))
    )


def chains(count: int, depth: int) -> list[object]:
    """Return so many arrays, each with so many more inside one another in it: nothing takes longer to go through."""
    chain: list[object] = []
    for _ in range(depth):
        chain = [chain]
    return [chain] * count


def many(*places: int, value: list[object] = [[]] * 131_000) -> Make:
    """Return the good file with a tag in some of its sections that has 131000 arrays, nearly all that it may."""
    sections = [*GOOD.sections]
    for place in places:
        content = sections[place].content
        at = content.index(b"\xa6values") + 7
        more = bytes([content[at] + 1]) + content[at + 1 :] + b"\xa1x" + pack(value)
        sections[place] = replace(sections[place], content=content[:at] + more)
    return good(sections=sections)


TOGETHER: Final = "more than 262144 values in the sections together"

ENCODING: Final = (
    Attack(13, "garbage", in_value(b"\xc1"), "not one msgpack value"),
    Attack(13, "cut short", clock(CLOCK[:-1]), "not one msgpack value"),
    Attack(13, "two values", clock(CLOCK + b"\xc0"), "not one msgpack value"),
    Attack(13, "nothing of what is announced", in_value(b"\xc6\xff\xff\xff\xff"), "not one msgpack value"),
    Attack(13, "an array that announces 4 G", in_value(b"\xdd\xff\xff\xff\xff"), "not one msgpack value"),
    Attack(14, "no UTF-8", in_value(b"\xa1\xff"), "not one msgpack value"),
    Attack(14, "half a surrogate pair", in_value(b"\xa3\xed\xa0\x80"), "not one msgpack value"),
    Attack(14, "a slash in two bytes", in_value(b"\xa2\xc0\xaf"), "not one msgpack value"),
    Attack(15, "a number", in_value(b"\x81\x01\x02"), "not one msgpack value"),
    Attack(15, "an array", in_value(b"\x81\x90\x02"), "not one msgpack value"),
    Attack(15, "bytes", in_value(b"\x81\xc4\x01k\x02"), "clock.x: the key b'k' is not text"),
    Attack(15, "a tag that is bytes", in_value(b"\x02", b"\xc4\x01k"), "clock: the tag b'k' is not text"),
    Attack(15, "in the header", in_header(b"\xc4\x01x", b"\x01"), "the key b'x' is not text"),
    Attack(16, "in a value", in_value(b"\x82\xa1k\x01\xa1k\x02"), "the key 'k' stands twice in one map"),
    Attack(16, "a tag", in_value(b"\x07", b"\xa3now"), "the key 'now' stands twice in one map"),
    Attack(16, "a path", clock(b"\x82" + (pack("path") + pack(["clock"])) * 2), "the key 'path' stands twice in one"),
    Attack(16, "in the index", good(index_content=b"\x82" + pack("a") * 4), "the key 'a' stands twice in one map"),
    Attack(16, "the format", in_header(pack("chkpt"), b"\x02"), "the key 'chkpt' stands twice in one map"),
    Attack(17, "an integer", in_value(b"\xcc\x01"), "a value is not in the shortest msgpack encoding"),
    Attack(17, "a signed integer", in_value(b"\xd0\x01"), "a value is not in the shortest msgpack encoding"),
    Attack(17, "a text", in_value(b"\xd9\x01k"), "a value is not in the shortest msgpack encoding"),
    Attack(17, "bytes", in_value(b"\xc5\x00\x01k"), "a value is not in the shortest msgpack encoding"),
    Attack(17, "an array", in_value(b"\xdc\x00\x01\x01"), "a value is not in the shortest msgpack encoding"),
    Attack(17, "a map", in_value(b"\xde\x00\x00"), "a value is not in the shortest msgpack encoding"),
    Attack(17, "a float of 32 bits", in_value(b"\xca\x7f\xc0\x00\x00"), "a value is not in the shortest msgpack"),
    Attack(18, "one byte", in_value(b"\xd4\x05\x00"), "not one msgpack value"),
    Attack(18, "nothing", in_value(b"\xc7\x00\x05"), "a msgpack extension type (5)"),
    Attack(18, "a time", in_value(b"\xd6\xff\x00\x00\x00\x00"), "not one msgpack value"),
    Attack(18, "a time of nothing", in_value(b"\xc7\x00\xff"), "not one msgpack value"),
)

LIMITS: Final = (
    Attack(19, "131072 arrays", in_value(pack([[]] * 131070)), MANY, LimitError),
    Attack(19, "131072 keys", in_value(pack({str(n): 1 for n in range(65536)})), MANY, LimitError),
    Attack(19, "announced", in_value(b"\xdd\x00\xff\xff\xff" * 60 + bytes(9000)), MANY, LimitError),
    Attack(19, "a million contexts", later(lambda: clock(a_million_contexts())), MANY, LimitError),
    Attack(
        19, "a million sections", later(lambda: good(index_content=pack({"header": [0] * 1_000_000}))), MANY, LimitError
    ),
    Attack(20, "a text", in_value(pack("x" * (MIB + 1))), MANY, LimitError),
    Attack(20, "a key", in_value(pack({"x" * (MIB + 1): 1})), MANY, LimitError),
    Attack(21, "70 arrays", in_value(DEEP), "values nest deeper than 64 maps and arrays", LimitError),
    Attack(21, "2000 arrays", in_value(b"\x91" * 2000 + b"\x01"), "values nest deeper than 64 maps", LimitError),
    Attack(21, "70 maps", in_value(b"\x81\xa1k" * 70 + b"\x01"), "values nest deeper than 64 maps", LimitError),
    Attack(21, "in a long content", in_value(b"\x92" + DEEP + LONG), "values nest deeper than 64 maps", LimitError),
    Attack(21, "a million arrays", in_value(b"\x91" * 1_000_000), "values nest deeper than 64 maps", LimitError),
    Attack(21, "contexts", child("a", nested(31)), "contexts nest deeper than 64 maps", LimitError),
    Attack(
        30,
        "80 MiB in five sections",
        later(lambda: File(sections=[section(f"a{n}", values={"x": bytes(16 * MIB - 50)}) for n in range(5)]).build),
        "bytes of content in all sections; the limit is 67108864",
        LimitError,
    ),
    Attack(61, "in three sections", later(lambda: many(0, 3, 4)), TOGETHER, LimitError),
    Attack(61, "nested", later(lambda: many(0, 3, 4, value=chains(2300, 55))), TOGETHER, LimitError),
    Attack(61, "in a device", later(lambda: many(0, 1, 2)), TOGETHER, LimitError),
    Attack(34, "a key", in_value(pack({"k" * 256: 1})), "a key of 256 characters; the limit is 255", LimitError),
    Attack(34, "a tag", in_value(b"\x01", pack("k" * 256)), "a tag of 256 characters; the limit is 255", LimitError),
    Attack(34, "in the header", in_header(pack("k" * 256), b"\x01"), "a key of 256 characters", LimitError),
    Attack(34, "a type", child("a", {"type": "t" * 256}), "a type of 256 characters; the limit is 255", LimitError),
)

VALUES: Final = (*ENCODING, *LIMITS)
