-- no transaction
-- Built without stopping writers: an empty index of the whole, one CONCURRENTLY for each partition, then attached. A
-- partition that is made later gets its own from the whole. Every step may be repeated.

CREATE INDEX IF NOT EXISTS flight_instances_open ON ONLY flight_instances (departs_at, origin, destination, status)
  WHERE status IN ('scheduled', 'delayed');
-- each partition of flight_instances
CREATE INDEX CONCURRENTLY IF NOT EXISTS {partition}_open ON {partition} (departs_at, origin, destination, status)
  WHERE status IN ('scheduled', 'delayed');
-- each partition of flight_instances
ALTER INDEX flight_instances_open ATTACH PARTITION {partition}_open;

-- "Pending" is `held`: seats are taken and nothing is paid.
CREATE INDEX IF NOT EXISTS bookings_of_user ON ONLY bookings (user_id, created_at DESC)
  WHERE status IN ('confirmed', 'held');
-- each partition of bookings
CREATE INDEX CONCURRENTLY IF NOT EXISTS {partition}_of_user ON {partition} (user_id, created_at DESC)
  WHERE status IN ('confirmed', 'held');
-- each partition of bookings
ALTER INDEX bookings_of_user ATTACH PARTITION {partition}_of_user;

-- date_trunc of a timestamptz depends on the session's time zone, so it is not immutable; of a UTC timestamp it is.
CREATE INDEX IF NOT EXISTS bookings_by_month ON ONLY bookings (date_trunc('month', created_at AT TIME ZONE 'UTC'));
-- each partition of bookings
CREATE INDEX CONCURRENTLY IF NOT EXISTS {partition}_by_month
  ON {partition} (date_trunc('month', created_at AT TIME ZONE 'UTC'));
-- each partition of bookings
ALTER INDEX bookings_by_month ATTACH PARTITION {partition}_by_month;
