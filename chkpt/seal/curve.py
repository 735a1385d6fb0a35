"""Which 32 bytes are a public key of Ed25519 that somebody can hold.

OpenSSL verifies against any 32 bytes. A key of small order (RFC 8032, 5.1: the group has a cofactor of 8) has
signatures that fit many messages and that anyone can make, and an encoding that is not the canonical one lets one key
pass as two. The arithmetic is that of RFC 8032, 5.1.3, on public values only: it may take its time.
"""

from typing import Final

_P: Final = (1 << 255) - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ROOT: Final = pow(2, (_P - 1) // 4, _P)  # a square root of -1


def fault(key: bytes) -> str:
    """Return why `key` is no public key to trust, as a phrase after "it"; empty where it is one."""
    if len(key) != 32:
        return f"has {len(key)} bytes, not 32"
    number = int.from_bytes(key, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return "is not in canonical form"
    x = _x(y)
    if x is None:
        return "is no point of the curve"
    if not x and sign:
        return "is not in canonical form"
    for _ in range(3):
        x, y = _double(x, y)
    return "has a small order, so that anyone can sign for it" if (x, y) == (0, 1) else ""


def _x(y: int) -> int | None:
    """Return an x of the point with this y: either does, as the order of a point and of its negative are the same."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _ROOT % _P
    return x if x * x % _P == square else None


def _double(x: int, y: int) -> tuple[int, int]:
    product = _D * x * x * y * y
    return 2 * x * y * pow(1 + product, -1, _P) % _P, (y * y + x * x) * pow(1 - product, -1, _P) % _P
