-- From version 2 to 3: rooms that nobody has registered, kept for those who are always on in them.
ALTER TABLE rooms ADD COLUMN kind TEXT NOT NULL DEFAULT 'registered';
