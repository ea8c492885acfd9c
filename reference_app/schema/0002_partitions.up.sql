-- Flights by list, users by hash, bookings by quarter; payments, passengers, pricing rules and the outbox. Rows are kept.
--
-- A unique constraint of a partitioned table has to contain the partition key. What has to be unique beyond it stands in
-- a key table, written first; a composite foreign key holds every row to its key, so that no second row can have it, and
-- other tables refer to the key. The way back (key -> row) is checked at commit: no key is without its row.

CREATE SCHEMA before_0002;
ALTER TABLE bookings SET SCHEMA before_0002;
ALTER TABLE flight_instances SET SCHEMA before_0002;
ALTER TABLE flights SET SCHEMA before_0002;
ALTER TABLE users SET SCHEMA before_0002;
ALTER TABLE inventory DROP CONSTRAINT inventory_instance_id_fkey;

ALTER TABLE airports ADD UNIQUE (code, country);  -- what routes and flights say of a country, they say by this key

CREATE TABLE routes (
  origin text NOT NULL,
  destination text NOT NULL,
  origin_country text NOT NULL,
  destination_country text NOT NULL,
  is_domestic boolean NOT NULL GENERATED ALWAYS AS (origin_country = destination_country) STORED,
  PRIMARY KEY (origin, destination),
  FOREIGN KEY (origin, origin_country) REFERENCES airports (code, country),
  FOREIGN KEY (destination, destination_country) REFERENCES airports (code, country),
  CHECK (origin <> destination)
);

-- A flight of the timetable. A generated column can't be a partition key, so the CHECK makes is_domestic the truth about
-- two countries that are themselves held to the airports'.
CREATE TABLE flight_keys (
  id bigint PRIMARY KEY,
  is_domestic boolean NOT NULL,
  number text NOT NULL UNIQUE,
  UNIQUE (id, is_domestic, number)
);
CREATE TABLE flights (
  id bigint NOT NULL,
  is_domestic boolean NOT NULL,
  number text NOT NULL,
  origin text NOT NULL,
  destination text NOT NULL,
  origin_country text NOT NULL,
  destination_country text NOT NULL,
  departs_after interval NOT NULL,          -- since the start of the UTC day
  duration interval NOT NULL CHECK (duration > interval '0'),
  base_price_cents integer NOT NULL CHECK (base_price_cents > 0),   -- one economy seat
  PRIMARY KEY (id, is_domestic),
  UNIQUE (id, is_domestic, origin, destination),
  FOREIGN KEY (id, is_domestic, number) REFERENCES flight_keys (id, is_domestic, number),
  FOREIGN KEY (origin, destination) REFERENCES routes,
  FOREIGN KEY (origin, origin_country) REFERENCES airports (code, country),
  FOREIGN KEY (destination, destination_country) REFERENCES airports (code, country),
  CONSTRAINT flights_is_domestic_is_true CHECK (is_domestic = (origin_country = destination_country))
) PARTITION BY LIST (is_domestic);
CREATE TABLE flights_domestic PARTITION OF flights FOR VALUES IN (true);
CREATE TABLE flights_international PARTITION OF flights FOR VALUES IN (false);
ALTER TABLE flight_keys ADD FOREIGN KEY (id, is_domestic) REFERENCES flights DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX ON flights (origin, destination);

-- What flies on one day, in the same two partitions. Origin and destination are the flight's: the foreign key says so.
CREATE TABLE flight_instance_keys (
  id bigint PRIMARY KEY,
  is_domestic boolean NOT NULL,
  UNIQUE (id, is_domestic)
);
CREATE TABLE flight_instances (
  id bigint NOT NULL,
  is_domestic boolean NOT NULL,
  flight_id bigint NOT NULL,
  origin text NOT NULL,
  destination text NOT NULL,
  day date NOT NULL,
  departs_at timestamptz NOT NULL,
  arrives_at timestamptz NOT NULL CHECK (arrives_at > departs_at),
  status text NOT NULL DEFAULT 'scheduled' CHECK (status IN ('scheduled', 'delayed', 'cancelled', 'departed')),
  PRIMARY KEY (id, is_domestic),
  UNIQUE (flight_id, is_domestic, day),  -- one a day: a flight is in one partition only
  FOREIGN KEY (id, is_domestic) REFERENCES flight_instance_keys (id, is_domestic),
  FOREIGN KEY (flight_id, is_domestic, origin, destination) REFERENCES flights (id, is_domestic, origin, destination),
  CHECK (day = (departs_at AT TIME ZONE 'UTC')::date)
) PARTITION BY LIST (is_domestic);
CREATE TABLE flight_instances_domestic PARTITION OF flight_instances FOR VALUES IN (true);
CREATE TABLE flight_instances_international PARTITION OF flight_instances FOR VALUES IN (false);
ALTER TABLE flight_instance_keys ADD FOREIGN KEY (id, is_domestic) REFERENCES flight_instances
  DEFERRABLE INITIALLY DEFERRED;

-- Users by hash. E-mail and token have to be unique over all four: they live in the key table alone.
CREATE TABLE users (
  id bigint PRIMARY KEY,
  name text NOT NULL,
  home_region text NOT NULL,
  role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
  created_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY HASH (id);
CREATE TABLE users_0 PARTITION OF users FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE users_1 PARTITION OF users FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE users_2 PARTITION OF users FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE users_3 PARTITION OF users FOR VALUES WITH (MODULUS 4, REMAINDER 3);
CREATE TABLE user_keys (
  user_id bigint PRIMARY KEY REFERENCES users ON DELETE CASCADE,
  email text NOT NULL UNIQUE,
  token_hash bytea NOT NULL UNIQUE
);
ALTER TABLE users ADD FOREIGN KEY (id) REFERENCES user_keys DEFERRABLE INITIALLY DEFERRED;

-- Bookings by quarter. The key gives the id, holds (user, idempotency key) unique and knows the partition.
CREATE TABLE booking_keys (
  id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  created_at timestamptz NOT NULL,
  user_id bigint NOT NULL REFERENCES users,
  idempotency_key text NOT NULL,
  UNIQUE (user_id, idempotency_key),
  UNIQUE (id, created_at, user_id)
);
CREATE TABLE bookings (
  id bigint NOT NULL,
  created_at timestamptz NOT NULL,
  user_id bigint NOT NULL,
  instance_id bigint NOT NULL,
  cabin text NOT NULL,
  passengers integer NOT NULL CHECK (passengers BETWEEN 1 AND 9),
  price_cents bigint NOT NULL CHECK (price_cents > 0),
  status text NOT NULL CHECK (status IN ('held', 'confirmed', 'cancelled', 'expired', 'changed')),
  hold_expires_at timestamptz,
  cancelled_at timestamptz,
  changed_from bigint REFERENCES booking_keys,  -- the booking that this one took the place of
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id, created_at),
  FOREIGN KEY (id, created_at, user_id) REFERENCES booking_keys (id, created_at, user_id),
  FOREIGN KEY (instance_id, cabin) REFERENCES inventory (instance_id, cabin),
  CHECK ((status = 'cancelled') = (cancelled_at IS NOT NULL)),
  CHECK (status <> 'held' OR hold_expires_at IS NOT NULL)
) PARTITION BY RANGE (created_at);
ALTER TABLE booking_keys ADD FOREIGN KEY (id, created_at) REFERENCES bookings DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX bookings_holds ON bookings (hold_expires_at) WHERE status = 'held';
CREATE INDEX bookings_by_instance ON bookings (instance_id);

CREATE FUNCTION missing_booking_partitions(first timestamptz, last timestamptz)
RETURNS TABLE (name text, starts timestamptz, ends timestamptz) LANGUAGE sql STABLE AS $$
  SELECT q.name, q.starts AT TIME ZONE 'UTC', (q.starts + interval '3 months') AT TIME ZONE 'UTC'
  FROM (
    SELECT to_char(s, '"bookings_"YYYY"q"Q') AS name, s AS starts
    FROM generate_series(date_trunc('quarter', first AT TIME ZONE 'UTC'), last AT TIME ZONE 'UTC', interval '3 months') s
  ) q
  WHERE NOT EXISTS (
    SELECT FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    WHERE inhparent = 'bookings'::regclass AND c.relname = q.name
  )
  ORDER BY 2
$$;

-- Attached, not created in place: readers and writers of the other quarters are not stopped.
CREATE FUNCTION make_booking_partitions(first timestamptz, last timestamptz)
RETURNS SETOF text LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE quarter record;
BEGIN
  PERFORM pg_advisory_xact_lock(7318402003);
  FOR quarter IN SELECT * FROM missing_booking_partitions(first, last) LOOP
    EXECUTE format('CREATE TABLE %I (LIKE bookings INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', quarter.name);
    EXECUTE format('ALTER TABLE bookings ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   quarter.name, quarter.starts, quarter.ends);
    RETURN NEXT quarter.name;
  END LOOP;
END
$$;

CREATE TABLE passengers (
  booking_id bigint NOT NULL REFERENCES booking_keys ON DELETE CASCADE,
  position integer NOT NULL CHECK (position BETWEEN 1 AND 9),
  name text NOT NULL,
  document text NOT NULL,
  birth_date date NOT NULL,
  PRIMARY KEY (booking_id, position)
);

CREATE TABLE payments (
  id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  booking_id bigint NOT NULL REFERENCES booking_keys,
  amount_cents bigint NOT NULL CHECK (amount_cents > 0),
  currency text NOT NULL DEFAULT 'USD' CHECK (currency ~ '^[A-Z]{3}$'),
  method_token text NOT NULL,
  status text NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed', 'timed_out', 'refunded')),
  failure text,                             -- why, when it failed
  provider_reference text UNIQUE,
  idempotency_key text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  UNIQUE (booking_id, idempotency_key)
);
CREATE UNIQUE INDEX payments_one_at_work ON payments (booking_id) WHERE status IN ('pending', 'succeeded');

-- Which prices change, from when to when: of a route, of an airport (either end), or, with neither, of all.
CREATE TABLE pricing_rules (
  id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  origin text,
  destination text,
  airport text REFERENCES airports,
  cabin text CHECK (cabin IN ('economy', 'business')),  -- null: both
  valid_from timestamptz NOT NULL,
  valid_until timestamptz CHECK (valid_until > valid_from),  -- null: no end
  factor numeric(6, 4) CHECK (factor > 0),
  add_cents integer,
  priority integer NOT NULL DEFAULT 0,      -- the highest is applied last
  active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (origin, destination) REFERENCES routes,
  CHECK ((origin IS NULL) = (destination IS NULL)),
  CHECK (origin IS NULL OR airport IS NULL),
  CHECK (num_nonnulls(factor, add_cents) = 1)
);
CREATE INDEX ON pricing_rules (origin, destination) WHERE active;
CREATE INDEX ON pricing_rules (airport) WHERE active;

-- Jobs and events of a transaction, published after its commit by a relay: at least once. Queue `events` is the caches'.
CREATE TABLE outbox (
  id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  queue text NOT NULL,
  name text NOT NULL,
  payload jsonb NOT NULL,
  dedupe_key text NOT NULL UNIQUE,
  created_at timestamptz NOT NULL DEFAULT now(),
  published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;

-- What a job has done, written in the transaction of its effect: a second run of the same job finds it.
CREATE TABLE done_jobs (
  dedupe_key text PRIMARY KEY,
  name text NOT NULL,
  done_at timestamptz NOT NULL DEFAULT now()
);

-- The rows of before.
INSERT INTO routes (origin, destination, origin_country, destination_country)
  SELECT DISTINCT f.origin, f.destination, o.country, d.country FROM before_0002.flights f
  JOIN airports o ON o.code = f.origin JOIN airports d ON d.code = f.destination;
INSERT INTO flight_keys (id, is_domestic, number)
  SELECT f.id, r.is_domestic, f.number FROM before_0002.flights f JOIN routes r USING (origin, destination);
INSERT INTO flights
  SELECT f.id, r.is_domestic, f.number, f.origin, f.destination, r.origin_country, r.destination_country,
         f.departs_after, f.duration, f.base_price_cents
  FROM before_0002.flights f JOIN routes r USING (origin, destination);
INSERT INTO flight_instance_keys
  SELECT i.id, f.is_domestic FROM before_0002.flight_instances i JOIN flights f ON f.id = i.flight_id;
INSERT INTO flight_instances
  SELECT i.id, f.is_domestic, i.flight_id, f.origin, f.destination, i.day, i.departs_at, i.arrives_at, i.status
  FROM before_0002.flight_instances i JOIN flights f ON f.id = i.flight_id;
INSERT INTO users (id, name, home_region) SELECT id, name, home_region FROM before_0002.users;
INSERT INTO user_keys SELECT id, email, token_hash FROM before_0002.users;
SELECT make_booking_partitions(min(created_at), max(created_at)) FROM before_0002.bookings HAVING count(*) > 0;
INSERT INTO booking_keys (id, created_at, user_id, idempotency_key)
  SELECT id, created_at, user_id, idempotency_key FROM before_0002.bookings;
SELECT setval(pg_get_serial_sequence('booking_keys', 'id'), max(id)) FROM booking_keys HAVING count(*) > 0;
INSERT INTO bookings (id, created_at, user_id, instance_id, cabin, passengers, price_cents, status, cancelled_at)
  SELECT id, created_at, user_id, instance_id, cabin, passengers, price_cents, status, cancelled_at
  FROM before_0002.bookings;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE inventory ADD CONSTRAINT inventory_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES flight_instance_keys;
DROP SCHEMA before_0002 CASCADE;
