"""The books of a market, double entry: what each advertiser was charged, refunded, and spared, to the micro.

Pure: entries of the event streams go in, transfers and balances come out; `serving/ledger` keeps them. docs/ledger.md works
through every case.
"""

from ledger.accounts import Account, Balance, Kind
from ledger.book import Book, Refusal, Result
from ledger.entries import Entry, Key
from ledger.transfers import Pending, State, Transfer

__all__ = ["Account", "Balance", "Book", "Entry", "Key", "Kind", "Pending", "Refusal", "Result", "State", "Transfer"]
