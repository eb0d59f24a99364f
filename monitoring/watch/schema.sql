-- What the monitor knows, in SQLite: `<log_dir>/monitor.sqlite`. Everything follows from the archive; a part and what it changed are
-- written in one transaction. docs/monitoring.md.

-- How far each log is read. Parts up to `number` that could not be read are in `skipped`.
CREATE TABLE progress (
  log TEXT PRIMARY KEY,
  number INTEGER NOT NULL,
  complete_ms INTEGER NOT NULL -- all entries logged before are in parts up to it
) STRICT;

-- Parts whose rows may still be joined: between which times things happened in them.
CREATE TABLE parts (
  log TEXT NOT NULL,
  number INTEGER NOT NULL,
  first_ms INTEGER NOT NULL, -- logged, as in the part's name
  last_ms INTEGER NOT NULL,
  from_ms INTEGER NOT NULL, -- happened
  to_ms INTEGER NOT NULL,
  PRIMARY KEY (log, number)
) STRICT, WITHOUT ROWID;

-- Parts that are damaged or missing; they are tried again.
CREATE TABLE skipped (
  log TEXT NOT NULL,
  number INTEGER NOT NULL,
  reason TEXT NOT NULL,
  first_ms INTEGER NOT NULL, -- between which log times its entries lie, or could
  last_ms INTEGER NOT NULL,
  PRIMARY KEY (log, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE hours (
  hour_ms INTEGER PRIMARY KEY,
  pages INTEGER NOT NULL, -- all decisions, robots' too
  rate REAL NOT NULL, -- share of its decisions whose features, probabilities and labels are summarised
  stage INTEGER NOT NULL DEFAULT 0, -- 1 over, 2 clicks are final, 3 conversions are final
  judged INTEGER NOT NULL DEFAULT 0 -- by detection
) STRICT;
CREATE INDEX hours_by_stage ON hours (stage, hour_ms);

CREATE TABLE slices (id INTEGER PRIMARY KEY, "by" TEXT NOT NULL, value TEXT NOT NULL, UNIQUE ("by", value)) STRICT;
CREATE TABLE series (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (kind, name)) STRICT;
CREATE TABLE releases (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- Of an hour (span 0) or of a whole day (span 1).
CREATE TABLE cells (
  span INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  release INTEGER NOT NULL REFERENCES releases,
  PRIMARY KEY (span, at_ms, release)
) STRICT, WITHOUT ROWID;
CREATE TABLE summaries (
  span INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  release INTEGER NOT NULL REFERENCES releases,
  series INTEGER NOT NULL REFERENCES series,
  slice INTEGER NOT NULL REFERENCES slices,
  said BLOB NOT NULL, -- monitoring.summaries
  PRIMARY KEY (span, at_ms, release, series, slice)
) STRICT, WITHOUT ROWID;

-- Which values of a slice are watched each on its own, day by day, and how much traffic the candidates for the next day have.
CREATE TABLE watched (
  day INTEGER NOT NULL,
  "by" TEXT NOT NULL,
  value TEXT NOT NULL,
  rows INTEGER NOT NULL,
  is_watched INTEGER NOT NULL,
  PRIMARY KEY (day, "by", value)
) STRICT, WITHOUT ROWID;

-- Conversions, and charges taken back, until their clicks' windows have passed.
CREATE TABLE late_events (
  impression_id TEXT NOT NULL,
  type TEXT NOT NULL,
  status TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  PRIMARY KEY (time_ms, impression_id, type, status)
) STRICT, WITHOUT ROWID;

-- What a release's training rows were like; `said` is empty, with the reason in `trouble`, where that cannot be told.
CREATE TABLE baselines (
  release TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  said BLOB,
  trouble TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (release, kind, name)
) STRICT, WITHOUT ROWID;

-- Memory of what judges the hours, up to and including the newest judged one.
CREATE TABLE memory (
  name TEXT PRIMARY KEY,
  said BLOB NOT NULL
) STRICT;
