-- A message that was lost before has begun: losing this loan is its doing.
ALTER TABLE loans ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
