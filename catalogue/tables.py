"""The tables. Nothing is ever overwritten but where a row's time ends, so that every version can be had back.

head      the newest version, and whose catalogue it is: one row, which writers lock by counting it up
change    one row per version: who, when, why
entry     one row per version of an advertiser, a campaign or an offer; it holds from `version` until `until`
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text

METADATA = MetaData()

HEAD = Table(
    "head",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("market", Text, nullable=False),
    Column("history", Text, nullable=False),  # drawn when it was made: tells a database from another with the same versions
    Column("version", BigInteger, nullable=False),
)
CHANGE = Table(
    "change",
    METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("request_key", Text, unique=True),  # the same request sent twice is one change
    Column("request_digest", Text),
)
ENTRY = Table(
    "entry",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("until", BigInteger),  # null while it holds
    Column("parent", Text),  # of an offer its campaign, of a campaign its advertiser; of one that is gone, the last
    Column("body", Text),  # JSON; null where it is gone from this version on
    Index("entry_by_version", "version"),
    Index("entry_by_parent", "parent"),
)
