-- The books in SQLite: `<log_dir>/ledger.sqlite`. Everything in it follows from the archive; docs/ledger.md says how to read it.

CREATE TABLE campaigns (
  id INTEGER PRIMARY KEY,
  campaign TEXT NOT NULL,
  advertiser TEXT NOT NULL,
  partition INTEGER NOT NULL,
  UNIQUE (campaign, advertiser)
) STRICT;

-- Append-only. The key is the entry's stream and id: it can be posted once, and is found in the archive by it.
CREATE TABLE transfers (
  partition INTEGER NOT NULL,
  ms INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  step INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'posted', 'voided', 'expired')),
  debit TEXT NOT NULL,
  credit TEXT NOT NULL,
  campaign_id INTEGER NOT NULL REFERENCES campaigns,
  day INTEGER NOT NULL,
  micros INTEGER NOT NULL CHECK (micros > 0),
  reason TEXT NOT NULL,
  resolves_ms INTEGER,
  resolves_seq INTEGER,
  PRIMARY KEY (partition, ms, seq, step)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER transfers_stay BEFORE UPDATE ON transfers BEGIN SELECT RAISE(ABORT, 'transfers are append-only'); END;
CREATE TRIGGER transfers_remain BEFORE DELETE ON transfers BEGIN SELECT RAISE(ABORT, 'transfers are append-only'); END;

-- Entries that say what cannot be: log and books differ by them.
CREATE TABLE refusals (
  partition INTEGER NOT NULL,
  ms INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  result TEXT NOT NULL,
  campaign TEXT NOT NULL,
  day INTEGER NOT NULL,
  micros INTEGER NOT NULL,
  PRIMARY KEY (partition, ms, seq)
) STRICT, WITHOUT ROWID;

-- The sums of the transfers; of kind `holds`, what Redis held at the last reconciliation.
CREATE TABLE balances (
  campaign_id INTEGER NOT NULL REFERENCES campaigns,
  day INTEGER NOT NULL,
  kind TEXT NOT NULL,
  reason TEXT NOT NULL,
  posted_micros INTEGER NOT NULL,
  pending_micros INTEGER NOT NULL,
  PRIMARY KEY (campaign_id, day, kind, reason)
) STRICT, WITHOUT ROWID;
CREATE INDEX balances_by_day ON balances (day);

-- What may still be resolved, and what became of it.
CREATE TABLE pendings (
  subject TEXT PRIMARY KEY,
  partition INTEGER NOT NULL,
  ms INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  campaign_id INTEGER NOT NULL REFERENCES campaigns,
  day INTEGER NOT NULL,
  micros INTEGER NOT NULL,
  state TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pendings_by_age ON pendings (ms);

-- Up to which part of the archive everything is in here, and so up to which entry of each partition's stream.
CREATE TABLE posted (part INTEGER PRIMARY KEY) STRICT;
CREATE TABLE positions (
  partition INTEGER PRIMARY KEY,
  ms INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;

-- What Redis said of each budget when it was last looked at; without a limit there is none. The one thing no archive has.
CREATE TABLE limits (
  campaign TEXT NOT NULL,
  day INTEGER NOT NULL,
  limit_micros INTEGER,
  PRIMARY KEY (day, campaign)
) STRICT, WITHOUT ROWID;

-- Two postings to a transfer, of opposite sign.
CREATE VIEW postings AS
  SELECT transfers.partition, ms, seq, step, state, debit AS account, campaign, advertiser, day, -micros AS micros, reason
    FROM transfers JOIN campaigns ON campaigns.id = campaign_id
  UNION ALL
  SELECT transfers.partition, ms, seq, step, state, credit AS account, campaign, advertiser, day, micros, reason
    FROM transfers JOIN campaigns ON campaigns.id = campaign_id;
