-- As in PostgreSQL.
ALTER TABLE nodes ADD COLUMN bus_up integer NOT NULL DEFAULT 1;
