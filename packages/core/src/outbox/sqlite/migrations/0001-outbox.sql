-- The outbox: tasks that were written in a transaction of the application's own, and wait for the relay to publish them.
-- Lovage, schema 1. Apply it with `lovage outbox migrate`, or hand it to your own migrations. SQLite 3.38 or newer.

CREATE TABLE lovage_outbox_schema (
  version    INTEGER PRIMARY KEY,
  applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- A row has its message in `envelope` (as Lovage writes it), or says with `task`, `args`, `kwargs` and `options` what is to be sent.
CREATE TABLE lovage_outbox (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT, -- SQLite has one writer at a time: this is also the order of commits
  id         TEXT NOT NULL DEFAULT (lower(
    hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
    || substr('89ab', 1 + (abs(random()) % 4), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
  key        TEXT,                              -- rows of one key are published in the order of their insertion
  task       TEXT NOT NULL,
  args       TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(args)),
  kwargs     TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(kwargs)),
  options    TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(options)),
  envelope   TEXT,
  attempts   INTEGER NOT NULL DEFAULT 0,        -- how often the broker refused this row while it took others
  retry_at   REAL NOT NULL DEFAULT 0,           -- ms since 1970; rows of its key wait with it
  created_at REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400000) -- ms since 1970
);

CREATE INDEX lovage_outbox_put_off ON lovage_outbox (retry_at) WHERE retry_at > 0;

-- Which relay publishes. Others stand by.
CREATE TABLE lovage_outbox_lease (
  only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
  owner    TEXT NOT NULL,
  ends_at  REAL NOT NULL -- ms since 1970
);

-- What cannot be published, and why. It stays until somebody decides: `lovage outbox retry`, `lovage outbox discard`.
CREATE TABLE lovage_outbox_aside (
  seq          INTEGER PRIMARY KEY,
  id           TEXT NOT NULL,
  key          TEXT,
  task         TEXT NOT NULL,
  args         TEXT NOT NULL,
  kwargs       TEXT NOT NULL,
  options      TEXT NOT NULL,
  envelope     TEXT,
  created_at   REAL NOT NULL,
  reason       TEXT NOT NULL,
  set_aside_at REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400000)
);

INSERT INTO lovage_outbox_schema (version) VALUES (1);
