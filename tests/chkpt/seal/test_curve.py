"""Which public keys are refused: RFC 8032's curve, done a second time with other arithmetic."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey  # noqa: TID253
from hypothesis import given
from hypothesis import strategies as st

from chkpt.seal.curve import find_fault

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P

Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    product = D * a[0] * b[0] * a[1] * b[1]
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, P - 2, P) % P
    return x, (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, P - 2, P) % P


def times(number: int, point: Point) -> Point:
    result: Point = (0, 1)
    while number:
        if number & 1:
            result = add(result, point)
        point = add(point, point)
        number >>= 1
    return result


def root(square: int) -> int | None:
    for candidate in (pow(square, (P + 3) // 8, P), pow(square, (P + 3) // 8, P) * pow(2, (P - 1) // 4, P) % P):
        if candidate * candidate % P == square % P:
            return candidate
    return None


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


ORDER = 2**252 + 27742317777372353535851937790883648493


def torsion() -> list[Point]:
    """Return the eight points of small order: a point of the whole group, times the order of the prime one."""
    for y in range(2, 100):
        x = root((y * y - 1) * pow(D * y * y + 1, P - 2, P))
        if x is not None:
            seed = times(ORDER, (x, y))
            points = [times(number, seed) for number in range(8)]
            if len(set(points)) == 8:
                return points
    raise AssertionError("no point of order 8 was found")


SMALL = torsion()


@pytest.mark.parametrize("point", SMALL)
def test_a_key_of_small_order_is_refused(point: Point) -> None:
    assert "small order" in find_fault(encode(point))


def test_the_signature_that_a_key_of_small_order_would_let_pass() -> None:
    """With the neutral element as the key, R neutral and S 0 fit any message: what is refused is a real danger."""
    neutral = encode((0, 1))
    Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"any message at all")


@pytest.mark.parametrize("point", SMALL)
def test_an_encoding_that_is_not_canonical_is_refused(point: Point) -> None:
    x, y = point
    if y + P < 1 << 255:
        assert find_fault(((y + P) | (x & 1) << 255).to_bytes(32, "little")) == "is not in canonical form"
    if x == 0:
        assert find_fault((y | 1 << 255).to_bytes(32, "little")) == "is not in canonical form"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_another_length_is_refused(size: int) -> None:
    assert find_fault(bytes(size)) == f"has {size} bytes, not 32"


def test_half_of_all_numbers_are_no_point() -> None:
    faults = [find_fault(y.to_bytes(32, "little")) for y in range(2, 102)]
    assert {*faults} == {"", "is not a point of the curve"}
    for y, found in zip(range(2, 102), faults, strict=True):
        assert (root((y * y - 1) * pow(D * y * y + 1, P - 2, P)) is None) == (found != "")


@given(st.binary(min_size=32, max_size=32))
def test_a_key_that_somebody_holds_is_taken(seed: bytes) -> None:
    assert find_fault(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()) == ""
