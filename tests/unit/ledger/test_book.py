"""The books: what each kind of entry posts, what they refuse, and that every micro is on two accounts."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import EventStatus, EventType
from ledger import Account, Balance, Book, Entry, Key, Kind, Result, State
from ledger.book import MAX_BALANCE, spent_micros

PRICE = 250_000
NEXT_SEQ = iter(range(10**9))


def entry(kind: str, status: str, charged: int = 0, price: int = PRICE, **changes: object) -> Entry:
    made = Entry(Key(3, 1000, next(NEXT_SEQ)), kind, status, charged, price, "tea", "leaf", 20_000, "d-0|e1")
    return made._replace(**changes)  # type: ignore[arg-type]


def posted(book: Book) -> dict[tuple[str, str], int]:
    """Kind and reason -> posted micros, where there are any."""
    return {(a.kind.value, a.reason): b.posted_micros for a, b in book.balances.items() if b.posted_micros}


def pending(book: Book) -> dict[str, int]:
    return {a.kind.value: b.pending_micros for a, b in book.balances.items() if b.pending_micros}


@pytest.mark.parametrize("status", ["settled", "late_settled"])
@pytest.mark.parametrize("kind", ["impression", "click", "conversion"])
def test_a_charge_goes_from_the_advertiser_to_the_market(kind: str, status: str) -> None:
    book = Book()
    assert book.post(entry(kind, status, PRICE)) is Result.POSTED
    assert posted(book) == {("advertiser", ""): -PRICE, ("market", ""): PRICE}
    assert spent_micros(book.balances.items()) == {("tea", 20_000): PRICE}


@pytest.mark.parametrize(
    ("kind", "status"), [("impression", "logged"), ("dismiss", "released"), ("dismiss", "logged"), ("return", "logged")]
)
def test_what_is_not_billed_moves_nothing(kind: str, status: str) -> None:
    book = Book()
    assert book.post(entry(kind, status, price=0)) is Result.NOTHING
    assert (book.transfers, book.balances) == ([], {})


@pytest.mark.parametrize(("status", "state"), [("late_free", State.VOIDED), ("expired", State.EXPIRED)])
def test_what_came_too_late_to_be_charged_is_recorded_and_moves_nothing(status: str, state: State) -> None:
    book = Book()
    assert book.post(entry("click", status)) is Result.POSTED
    assert [(t.state, t.micros) for t in book.transfers] == [(state, PRICE)]
    assert (posted(book), pending(book)) == ({}, {})


def test_what_waits_is_pending_until_it_is_charged_to_the_day_that_had_room() -> None:
    book = Book()
    book.post(entry("conversion", "pending"))
    assert pending(book) == {"advertiser": -PRICE, "market": PRICE}
    assert book.post(entry("charge", "pending")) is Result.NOTHING  # it has its click now, and waits for room
    assert book.post(entry("charge", "settled", PRICE, day=20_002)) is Result.POSTED
    assert pending(book) == {}
    assert spent_micros(book.balances.items()) == {("tea", 20_000): 0, ("tea", 20_002): PRICE}
    assert [t.state for t in book.transfers] == [State.PENDING, State.POSTED]


@pytest.mark.parametrize(("status", "state"), [("late_free", State.VOIDED), ("logged", State.VOIDED), ("expired", State.EXPIRED)])
def test_what_waited_in_vain_is_no_longer_pending(status: str, state: State) -> None:
    book = Book()
    book.post(entry("click", "pending"))
    assert book.post(entry("charge", status)) is Result.POSTED
    assert (pending(book), posted(book), book.transfers[-1].state) == ({}, {}, state)


def test_what_nobody_resolves_expires_and_cannot_be_charged_any_more() -> None:
    book = Book()
    book.post(entry("click", "pending", key=Key(3, 1000, 0)))
    assert book.expire(before_ms=1000) == 0
    assert book.expire(before_ms=1001) == 1
    assert pending(book) == {}
    assert book.post(entry("charge", "settled", PRICE, key=Key(3, 1002, 0))) is Result.ALREADY_EXPIRED
    assert [(r.result, r.micros) for r in book.refusals] == [(Result.ALREADY_EXPIRED, PRICE)]


@pytest.mark.parametrize(
    ("first", "expected"),
    [("settled", Result.ALREADY_POSTED), ("late_free", Result.ALREADY_VOIDED), ("expired", Result.ALREADY_EXPIRED)],
)
def test_a_pending_transfer_is_resolved_once(first: str, expected: Result) -> None:
    book = Book()
    book.post(entry("click", "pending"))
    book.post(entry("charge", first, PRICE if first == "settled" else 0))
    before = dict(book.balances)
    assert book.post(entry("charge", "settled", PRICE)) is expected
    assert book.post(entry("click", "pending")) is expected
    assert book.balances == before


def test_no_more_is_charged_than_was_pending() -> None:
    book = Book()
    book.post(entry("click", "pending"))
    assert book.post(entry("charge", "settled", PRICE + 1)) is Result.EXCEEDS_PENDING
    assert book.post(entry("charge", "settled", PRICE - 1)) is Result.POSTED
    assert (posted(book)["market", ""], pending(book)) == (PRICE - 1, {})


def test_a_charge_whose_pending_entry_lies_before_the_books_is_posted() -> None:
    book = Book()
    assert book.post(entry("charge", "settled", PRICE)) is Result.POSTED
    assert posted(book)["market", ""] == PRICE
    assert book.post(entry("charge", "logged", price=0)) is Result.NOTHING


def test_what_is_given_back_leaves_the_gross_and_lowers_the_net() -> None:
    book = Book()
    book.post(entry("conversion", "settled", 900))
    book.post(entry("click", "settled", 400))
    book.post(entry("return", "returned", -900))
    book.post(entry("adjustment", "returned", -400, reason="robot"))
    assert posted(book) == {("market", ""): 1300, ("adjustments", ""): -900, ("adjustments", "robot"): -400}
    assert spent_micros(book.balances.items()) == {("tea", 20_000): 0}


def test_no_more_is_given_back_than_was_charged() -> None:
    book = Book()
    book.post(entry("conversion", "settled", 900))
    assert book.post(entry("return", "returned", -901)) is Result.EXCEEDS_CHARGED
    assert spent_micros(book.balances.items()) == {("tea", 20_000): 900}


def test_invalid_traffic_costs_nothing_and_shows_what_it_would_have_cost_by_reason() -> None:
    book = Book()
    for reason in ("robot", "prefetch", "robot"):
        assert book.post(entry("click", "invalid", reason=reason)) is Result.POSTED
    assert posted(book) == {("invalid", ""): -3 * PRICE, ("invalid", "robot"): 2 * PRICE, ("invalid", "prefetch"): PRICE}
    assert spent_micros(book.balances.items()) == {}
    assert book.post(entry("impression", "invalid", price=0, reason="robot")) is Result.NOTHING


@pytest.mark.parametrize(
    "wrong",
    [
        entry("click", "logged", 5),
        entry("click", "invalid", 5),
        entry("click", "settled", -5),
        entry("charge", "settled", -5),
        entry("return", "returned", 5),
        entry("click", "stolen", 5),
    ],
    ids=str,
)
def test_an_entry_that_contradicts_itself_is_refused_by_name(wrong: Entry) -> None:
    book = Book()
    assert book.post(wrong) is Result.MALFORMED
    assert (book.balances, [r.result for r in book.refusals]) == ({}, [Result.MALFORMED])


def test_a_balance_beyond_int64_is_refused() -> None:
    book = Book()
    assert book.post(entry("click", "settled", MAX_BALANCE)) is Result.POSTED
    assert book.post(entry("click", "settled", 1)) is Result.OVERFLOWS
    assert posted(book)["market", ""] == MAX_BALANCE


def test_an_entry_that_is_posted_again_changes_nothing() -> None:
    book, first = Book(), entry("click", "settled", PRICE, key=Key(3, 7, 1))
    book.post(first)
    assert book.post(first) is Result.ALREADY_THERE
    assert book.post(first._replace(key=Key(3, 7, 0))) is Result.ALREADY_THERE  # a stream has an order
    assert book.post(first._replace(key=Key(4, 7, 0))) is Result.POSTED  # and the streams their own
    assert posted(book)["market", ""] == 2 * PRICE


def test_holds_are_a_reading_that_the_next_one_replaces() -> None:
    book = Book()
    book.post(entry("click", "pending"))
    for held in (700, 0, 300):
        book.mirror_holds({("tea", "leaf", 20_000): held})
        assert pending(book).get("holds", 0) == held
        assert pending(book)["advertiser"] == -PRICE - held
    assert posted(book) == {}


ENTRIES = st.builds(
    lambda kind, status, charged, price, subject, day: entry(kind, status, charged, price, subject=subject, day=day),
    st.sampled_from([t.value for t in EventType]),
    st.sampled_from([s.value for s in EventStatus]),
    st.sampled_from([0, 0, 1, 5, -1, -5]),
    st.integers(0, 5),
    st.sampled_from("abc"),
    st.integers(0, 1),
)


@given(st.lists(ENTRIES, max_size=40), st.data())
def test_whatever_is_posted_all_balances_sum_to_zero_and_follow_from_the_transfers(
    entries: list[Entry], data: st.DataObject
) -> None:
    book = Book()
    for one in entries:
        book.post(one)
        if data.draw(st.booleans()):
            book.expire(before_ms=1001)
    assert sum(b.posted_micros for b in book.balances.values()) == 0
    assert sum(b.pending_micros for b in book.balances.values()) == 0
    again: Counter[Account] = Counter()
    waiting: Counter[Account] = Counter()
    for transfer in book.transfers:
        assert transfer.micros > 0
        changes = list(transfer.postings())
        assert sum(c.posted_micros for _, c in changes) == 0
        assert sum(c.pending_micros for _, c in changes) == 0
        for account, change in changes:
            again[account] += change.posted_micros
            waiting[account] += change.pending_micros
    assert book.balances == {a: Balance(again[a], waiting[a]) for a in again.keys() | waiting.keys()}
    for account, balance in book.balances.items():
        if account.kind is Kind.ADVERTISER:
            assert balance.posted_micros <= 0
            assert balance.pending_micros == -sum(
                p.micros for p in book.pendings.values() if p.state is State.PENDING and p.day == account.day
            )
