"""Transfers between two accounts. Each is its own pair of postings, so that every transaction sums to 0."""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from ledger.accounts import Account, Balance, Kind
from ledger.entries import Key


class State(StrEnum):
    """The two phases, named as TigerBeetle has them."""

    PENDING = "pending"  # reserved; waits for one of the other three, which comes as a transfer of its own
    POSTED = "posted"  # moved
    VOIDED = "voided"  # will not move: free of charge
    EXPIRED = "expired"  # will not move: too late


class Pending(NamedTuple):
    """A pending transfer and what became of it."""

    key: Key
    campaign: str
    advertiser: str
    day: int
    micros: int
    state: State = State.PENDING


class Transfer(NamedTuple):
    """What an entry did to the books: `micros`, above 0, from `debit` to `credit`, unless it is not to be moved."""

    key: Key
    state: State
    debit: Kind
    credit: Kind
    campaign: str
    advertiser: str
    day: int
    micros: int
    reason: str = ""
    resolves: Pending | None = None

    def postings(self) -> Iterator[tuple[Account, Balance]]:
        """What it adds to which accounts; the sum is 0."""
        moved = self.micros if self.state is State.POSTED else 0
        reserved = self.micros if self.state is State.PENDING else 0
        if moved or reserved:
            at = self.campaign, self.advertiser, self.day
            yield Account(self.debit, *at, self.reason if self.debit is Kind.ADJUSTMENTS else ""), Balance(-moved, -reserved)
            yield Account(self.credit, *at, self.reason if self.credit is Kind.INVALID else ""), Balance(moved, reserved)
        if self.resolves:
            before = self.resolves
            yield Account(Kind.ADVERTISER, before.campaign, before.advertiser, before.day), Balance(0, before.micros)
            yield Account(Kind.MARKET, before.campaign, before.advertiser, before.day), Balance(0, -before.micros)
