-- The outbox knows which jobs come first and which were given up; sales are counted by a job; payments to be settled.

ALTER TABLE outbox
  ADD COLUMN priority integer NOT NULL DEFAULT 5,   -- within a queue, the smaller number first
  ADD COLUMN round integer NOT NULL DEFAULT 0,      -- how often it was ordered anew after it had been given up
  ADD COLUMN failed_at timestamptz,
  ADD COLUMN failure text;
CREATE INDEX outbox_to_be_done ON outbox (published_at) WHERE failed_at IS NULL;
CREATE INDEX payments_undecided ON payments (updated_at) WHERE status IN ('pending', 'timed_out');

CREATE TABLE daily_sales (
  day date NOT NULL,                                -- UTC day of the booking
  origin text NOT NULL,
  destination text NOT NULL,
  cabin text NOT NULL,
  bookings integer NOT NULL DEFAULT 0,
  passengers integer NOT NULL DEFAULT 0,
  revenue_cents bigint NOT NULL DEFAULT 0,
  returned_bookings integer NOT NULL DEFAULT 0,     -- cancelled or changed after they had been paid
  returned_cents bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (day, origin, destination, cabin)
);
