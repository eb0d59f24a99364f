-- Incidents in SQLite: `<log_dir>/incidents.sqlite`, apart from the summaries, whose writer works for seconds at a time. Here every
-- transaction is over in milliseconds, whoever writes: the watch, the page, the sender of alerts. docs/monitoring.md.

CREATE TABLE incidents (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  series_kind TEXT NOT NULL,
  series_name TEXT NOT NULL,
  slice_by TEXT NOT NULL,
  slice_value TEXT NOT NULL,
  release TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'acknowledged', 'silenced', 'closed')),
  opened_ms INTEGER NOT NULL,
  since_ms INTEGER NOT NULL,
  last_seen_ms INTEGER NOT NULL,
  closed_ms INTEGER,
  silenced_until_ms INTEGER,
  size REAL NOT NULL,
  usual REAL NOT NULL,
  evidence REAL NOT NULL,
  cost_micros_per_day INTEGER NOT NULL,
  detail TEXT NOT NULL,
  told_micros_per_day INTEGER NOT NULL, -- what it cost when it was told last
  seen_turn INTEGER NOT NULL, -- of `hours`: the last in which it was found
  closed_turn INTEGER
) STRICT;
CREATE INDEX incidents_by_state ON incidents (state, cost_micros_per_day);

-- Streams that an incident joins.
CREATE TABLE members (
  kind TEXT NOT NULL,
  series_kind TEXT NOT NULL,
  series_name TEXT NOT NULL,
  slice_by TEXT NOT NULL,
  slice_value TEXT NOT NULL,
  incident_id TEXT NOT NULL REFERENCES incidents,
  PRIMARY KEY (kind, series_kind, series_name, slice_by, slice_value, incident_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_incident ON members (incident_id);

-- What was found of them, hour by hour. An hour that is looked at again replaces what it said.
CREATE TABLE evidence (
  incident_id TEXT NOT NULL REFERENCES incidents,
  hour_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  series_kind TEXT NOT NULL,
  series_name TEXT NOT NULL,
  slice_by TEXT NOT NULL,
  slice_value TEXT NOT NULL,
  release TEXT NOT NULL,
  size REAL NOT NULL,
  usual REAL NOT NULL,
  evidence REAL NOT NULL,
  cost_micros_per_day INTEGER NOT NULL,
  PRIMARY KEY (incident_id, hour_ms, kind, series_kind, series_name, slice_by, slice_value)
) STRICT, WITHOUT ROWID;

-- Append-only. `told` is the incident as it stood, where somebody has to be told.
CREATE TABLE history (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  incident_id TEXT NOT NULL REFERENCES incidents,
  at_ms INTEGER NOT NULL,
  change TEXT NOT NULL,
  by TEXT NOT NULL,
  note TEXT NOT NULL,
  told TEXT
) STRICT;
CREATE INDEX history_by_incident ON history (incident_id, seq);
CREATE TRIGGER history_stays BEFORE UPDATE ON history BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;
CREATE TRIGGER history_remains BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;

-- Hours that were looked at, in the order in which they were: quiet is counted in these turns, and not by any clock, which may jump.
CREATE TABLE hours (
  turn INTEGER PRIMARY KEY AUTOINCREMENT,
  hour_ms INTEGER NOT NULL UNIQUE,
  at_ms INTEGER NOT NULL,
  streams INTEGER NOT NULL,
  findings INTEGER NOT NULL
) STRICT;

-- How far each receiver of alerts has got in the history, and what it has not taken yet.
CREATE TABLE receivers (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
CREATE TABLE deliveries (
  receiver TEXT NOT NULL,
  seq INTEGER NOT NULL REFERENCES history,
  attempts INTEGER NOT NULL,
  due_ms INTEGER NOT NULL,
  first_ms INTEGER NOT NULL,
  done_ms INTEGER,
  error TEXT NOT NULL,
  PRIMARY KEY (receiver, seq)
) STRICT, WITHOUT ROWID;

-- Decisions that kept and broke each service level, by the 60th part of an hour. A source that is counted again replaces itself.
CREATE TABLE minutes (
  level TEXT NOT NULL,
  minute_ms INTEGER NOT NULL,
  source TEXT NOT NULL,
  good INTEGER NOT NULL,
  bad INTEGER NOT NULL,
  PRIMARY KEY (level, minute_ms, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX minutes_by_age ON minutes (minute_ms);
