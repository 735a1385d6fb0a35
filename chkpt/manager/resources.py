"""Which device has which ports, MSRs and memory. Each has one owner; the message of a conflict names both devices."""

from dataclasses import dataclass
from enum import StrEnum

from chkpt.errors import ConfigError, ConflictError


class Resource(StrEnum):
    """What only one device may have."""

    PORT = "port"
    MSR = "MSR"
    MEMORY = "memory"


LIMITS = {Resource.PORT: 1 << 16, Resource.MSR: 1 << 32, Resource.MEMORY: 1 << 52}
"""One more than the greatest number of each (x86: 16-bit ports, 32-bit MSR numbers, 52-bit physical addresses)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A run of `count` numbers from `first`, and the device that has them."""

    kind: Resource
    first: int
    count: int
    owner: str

    def __str__(self) -> str:
        last = self.first + self.count - 1
        return f"{self.kind} {self.first:#x}" if self.count == 1 else f"{self.kind} {self.first:#x}-{last:#x}"


class Resources:
    """All claims of one machine."""

    def __init__(self) -> None:
        self._claims: list[Claim] = []

    def claim(self, kind: Resource, first: int, count: int, owner: str) -> Claim:
        """Give `count` numbers from `first` to `owner`.

        Raises:
            ConflictError: some of them have an owner; it may be `owner` itself.
            ConfigError: there are no such numbers.
        """
        claim = Claim(kind, first, count, owner)
        if count < 1 or first < 0 or first + count > LIMITS[kind]:
            raise ConfigError(f"there is no {claim}", where=owner)
        for other in self._claims:
            if other.kind is kind and other.first < first + count and first < other.first + other.count:
                raise ConflictError(f"cannot have {claim}: {other.owner} has {other}", subject=owner)
        self._claims.append(claim)
        return claim

    def release(self, claim: Claim) -> None:
        """Take a claim back."""
        self._claims.remove(claim)

    def of(self, owner: str) -> tuple[Claim, ...]:
        """Return the claims of `owner`, in the order in which they were made."""
        return tuple(claim for claim in self._claims if claim.owner == owner)
