-- Dead letters keep the stack of their error, and each queue knows how many it has and how wide they are, so that caps cost
-- no count. Triggers keep the totals: whoever writes or deletes, they hold.

ALTER TABLE dead ADD COLUMN stack TEXT;

CREATE TABLE dead_totals (
  queue INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  bytes INTEGER NOT NULL
) STRICT;
INSERT INTO dead_totals (queue, count, bytes) SELECT queue, count(*), sum(bytes) FROM dead GROUP BY queue;

CREATE TRIGGER dead_added AFTER INSERT ON dead BEGIN
  INSERT INTO dead_totals (queue, count, bytes) VALUES (new.queue, 1, new.bytes)
  ON CONFLICT (queue) DO UPDATE SET count = count + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER dead_removed AFTER DELETE ON dead BEGIN
  UPDATE dead_totals SET count = count - 1, bytes = bytes - old.bytes WHERE queue = old.queue;
END;
