"""Posts entries: what each may do to the books is decided here, and nowhere else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from domain.events import EventStatus, EventType
from ledger.accounts import Account, Balance, Kind
from ledger.entries import Entry, Key
from ledger.transfers import Pending, State, Transfer

MAX_BALANCE = 2**63 - 1


class Result(StrEnum):
    """How posting an entry ended. Below the first three it was refused, and log and books differ by what the entry says."""

    POSTED = "posted"
    NOTHING = "nothing"  # an event that moves no money
    ALREADY_THERE = "already_there"  # this entry, or a later one of its stream, has been posted before

    ALREADY_PENDING = "already_pending"
    ALREADY_POSTED = "already_posted"  # its pending transfer was charged before
    ALREADY_VOIDED = "already_voided"
    ALREADY_EXPIRED = "already_expired"
    EXCEEDS_PENDING = "exceeds_pending"  # charges more than was pending
    EXCEEDS_CHARGED = "exceeds_charged"  # gives back more than the campaign was charged on that day
    OVERFLOWS = "overflows"  # a balance would leave int64
    MALFORMED = "malformed"  # type, status and amount do not go together


class Refusal(NamedTuple):
    """An entry that was not posted, and why."""

    key: Key
    result: Result
    campaign: str
    day: int
    micros: int


_ALREADY = {
    State.PENDING: Result.ALREADY_PENDING,
    State.POSTED: Result.ALREADY_POSTED,
    State.VOIDED: Result.ALREADY_VOIDED,
    State.EXPIRED: Result.ALREADY_EXPIRED,
}
_STATE = {
    EventStatus.PENDING: State.PENDING,
    EventStatus.SETTLED: State.POSTED,
    EventStatus.LATE_SETTLED: State.POSTED,
    EventStatus.LATE_FREE: State.VOIDED,
    EventStatus.LOGGED: State.VOIDED,
    EventStatus.EXPIRED: State.EXPIRED,
}
_BILLED = {EventType.IMPRESSION, EventType.CLICK, EventType.CONVERSION}
_GIVEN_BACK = {EventType.RETURN, EventType.ADJUSTMENT}


@dataclass(slots=True)
class Book:
    """Balances and pending transfers, and what posting added to them.

    A storage loads what a batch of entries may touch, posts the batch, and writes what is new. Absent balances are 0.

    Attributes:
      last: partition -> the last entry that was posted, or passed as it moves no money.
      balances: of the accounts touched, at least.
      pendings: by subject.
    """

    last: dict[int, Key] = field(default_factory=dict)
    balances: dict[Account, Balance] = field(default_factory=dict)
    pendings: dict[str, Pending] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def post(self, entry: Entry) -> Result:
        """Posts one entry; those of a partition come in their stream's order. Repeating it changes nothing."""
        key = entry.key
        if key <= self.last.get(key.partition, key._replace(ms=-1)):
            return Result.ALREADY_THERE
        self.last[key.partition] = key
        decided = self._decide(entry)
        if isinstance(decided, Transfer):
            decided = self._move(decided, entry.subject) if decided.micros else Result.NOTHING
        if decided not in (Result.POSTED, Result.NOTHING):
            self.refusals.append(Refusal(key, decided, entry.campaign, entry.day, entry.charged_micros or entry.price_micros))
        return decided

    def expire(self, before_ms: int) -> int:
        """Expires what has been pending since before `before_ms`; how much that was."""
        late = [(s, p) for s, p in self.pendings.items() if p.state is State.PENDING and p.key.ms < before_ms]
        for subject, p in late:
            key = p.key._replace(step=1)
            self._move(
                Transfer(key, State.EXPIRED, Kind.ADVERTISER, Kind.MARKET, p.campaign, p.advertiser, p.day, p.micros, "", p),
                subject,
            )
        return len(late)

    def mirror_holds(self, held: Mapping[tuple[str, str, int], int]) -> None:
        """Takes over what is held now, by campaign, advertiser and budget day: a reading, which the next one replaces."""
        for at, micros in held.items():
            holds, advertiser = Account(Kind.HOLDS, *at), Account(Kind.ADVERTISER, *at)
            before, other = self.balances.get(holds, Balance()), self.balances.get(advertiser, Balance())
            if micros != before.pending_micros:
                self.balances[holds] = Balance(0, micros)
                change = micros - before.pending_micros
                self.balances[advertiser] = other._replace(pending_micros=other.pending_micros - change)

    def _decide(self, entry: Entry) -> Transfer | Result:
        kind, status, charged, price = entry.type, entry.status, entry.charged_micros, entry.price_micros
        state = _STATE.get(status)  # type: ignore[call-overload]
        if kind in _GIVEN_BACK:
            return self._give_back(entry) if charged else Result.NOTHING
        if charged < 0 or (charged and state is not State.POSTED):
            return Result.MALFORMED
        if status == EventStatus.INVALID:
            what_it_would_cost = _transfer(entry, State.POSTED, Kind.INVALID, Kind.INVALID, price, entry.reason or "unknown")
            return what_it_would_cost if price else Result.NOTHING
        if kind == EventType.CHARGE and state:
            return self._resolve(entry, state)
        if kind not in _BILLED or state is None or status == EventStatus.LOGGED:
            return Result.NOTHING
        if state is State.PENDING and (before := self.pendings.get(entry.subject)):
            return _ALREADY[before.state]
        return _charge(entry, state, charged if state is State.POSTED else price)

    def _resolve(self, entry: Entry, state: State) -> Transfer | Result:
        before = self.pendings.get(entry.subject)
        micros = entry.charged_micros if state is State.POSTED else entry.price_micros
        if state is State.PENDING:
            return Result.NOTHING  # it waited for a click, and waits for room now
        if before is None:  # nothing was at stake when it came, or that was before the books begin
            return Result.NOTHING if entry.status == EventStatus.LOGGED else _charge(entry, state, micros)
        if before.state is not State.PENDING:
            return _ALREADY[before.state]
        if micros > before.micros:
            return Result.EXCEEDS_PENDING
        return _charge(entry, state, micros or before.micros)._replace(resolves=before)

    def _give_back(self, entry: Entry) -> Transfer | Result:
        if entry.charged_micros > 0:
            return Result.MALFORMED
        account = Account(Kind.ADVERTISER, entry.campaign, entry.advertiser, entry.day)
        if self.balances.get(account, Balance()).posted_micros - entry.charged_micros > 0:
            return Result.EXCEEDS_CHARGED
        return _transfer(entry, State.POSTED, Kind.ADJUSTMENTS, Kind.ADVERTISER, -entry.charged_micros, entry.reason)

    def _move(self, transfer: Transfer, subject: str) -> Result:
        after: dict[Account, Balance] = {}
        for account, change in transfer.postings():
            was = after.get(account) or self.balances.get(account, Balance())
            now = Balance(was.posted_micros + change.posted_micros, was.pending_micros + change.pending_micros)
            if max(map(abs, now)) > MAX_BALANCE:
                return Result.OVERFLOWS
            after[account] = now
        self.balances.update(after)
        self.transfers.append(transfer)
        if transfer.state is State.PENDING:
            t = transfer
            self.pendings[subject] = Pending(t.key, t.campaign, t.advertiser, t.day, t.micros)
        elif transfer.resolves:
            self.pendings[subject] = transfer.resolves._replace(state=transfer.state)
        return Result.POSTED


def spent_micros(balances: Iterable[tuple[Account, Balance]]) -> dict[tuple[str, int], int]:
    """Campaign and budget day -> what `spent` in Redis has to be; only where anything was posted."""
    spent: dict[tuple[str, int], int] = {}
    for account, balance in balances:
        if account.kind is Kind.ADVERTISER:
            at = account.campaign, account.day
            spent[at] = spent.get(at, 0) - balance.posted_micros
    return spent


def _charge(entry: Entry, state: State, micros: int) -> Transfer:
    return _transfer(entry, state, Kind.ADVERTISER, Kind.MARKET, micros)


def _transfer(entry: Entry, state: State, debit: Kind, credit: Kind, micros: int, reason: str = "") -> Transfer:
    return Transfer(entry.key, state, debit, credit, entry.campaign, entry.advertiser, entry.day, micros, reason)
