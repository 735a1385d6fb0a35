"""Checks that 32 bytes are a public key of Ed25519 that is safe to trust.

OpenSSL verifies against any 32 bytes. But anyone can make signatures for a key of small order (RFC 8032, 5.1: the group
has a cofactor of 8), and they fit many messages. And with an encoding that is not canonical one key passes as two. The
arithmetic is that of RFC 8032, 5.1.3. It takes public values only, so it need not run in constant time.
"""

from typing import Final

_P: Final = (1 << 255) - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ROOT: Final = pow(2, (_P - 1) // 4, _P)  # a square root of -1


def find_fault(key: bytes) -> str:
    """Return why `key` is not a public key to trust, as a phrase after "it"; empty if it is one."""
    if len(key) != 32:
        return f"has {len(key)} bytes, not 32"
    number = int.from_bytes(key, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return "is not in canonical form"
    x = _x(y)
    if x is None:
        return "is not a point of the curve"
    if not x and sign:
        return "is not in canonical form"
    for _ in range(3):
        x, y = _double(x, y)
    return "has a small order, so that anyone can sign for it" if (x, y) == (0, 1) else ""


def _x(y: int) -> int | None:
    """Return an x of the points with this y. Either will do: a point and its negative have the same order."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _ROOT % _P
    return x if x * x % _P == square else None


def _double(x: int, y: int) -> tuple[int, int]:
    product = _D * x * x * y * y
    return 2 * x * y * pow(1 + product, -1, _P) % _P, (y * y + x * x) * pow(1 - product, -1, _P) % _P
