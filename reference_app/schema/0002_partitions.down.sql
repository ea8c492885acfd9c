-- Back to plain tables. Bookings that the old schema has no word for (held, expired, changed) become cancelled; payments,
-- passengers, pricing rules and what waits in the outbox are lost.

CREATE SCHEMA after_0002;
ALTER TABLE bookings SET SCHEMA after_0002;
ALTER TABLE booking_keys SET SCHEMA after_0002;
ALTER TABLE users SET SCHEMA after_0002;
ALTER TABLE user_keys SET SCHEMA after_0002;
ALTER TABLE flight_instances SET SCHEMA after_0002;
ALTER TABLE flights SET SCHEMA after_0002;
ALTER TABLE inventory DROP CONSTRAINT inventory_instance_id_fkey;
DROP TABLE passengers, payments, pricing_rules, outbox, done_jobs;
DROP FUNCTION make_booking_partitions, missing_booking_partitions;

CREATE TABLE flights (
  id bigint PRIMARY KEY,
  number text NOT NULL UNIQUE,
  origin text NOT NULL REFERENCES airports,
  destination text NOT NULL REFERENCES airports,
  departs_after interval NOT NULL,
  duration interval NOT NULL CHECK (duration > interval '0'),
  base_price_cents integer NOT NULL CHECK (base_price_cents > 0),
  CHECK (origin <> destination)
);
CREATE INDEX flights_by_route ON flights (origin, destination);
CREATE TABLE flight_instances (
  id bigint PRIMARY KEY,
  flight_id bigint NOT NULL REFERENCES flights,
  day date NOT NULL,
  departs_at timestamptz NOT NULL,
  arrives_at timestamptz NOT NULL CHECK (arrives_at > departs_at),
  status text NOT NULL DEFAULT 'scheduled' CHECK (status IN ('scheduled', 'delayed', 'cancelled', 'departed')),
  UNIQUE (flight_id, day)
);
CREATE TABLE users (
  id bigint PRIMARY KEY,
  email text NOT NULL UNIQUE,
  name text NOT NULL,
  home_region text NOT NULL,
  token_hash bytea NOT NULL UNIQUE
);
CREATE TABLE bookings (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  instance_id bigint NOT NULL,
  cabin text NOT NULL,
  passengers integer NOT NULL CHECK (passengers BETWEEN 1 AND 9),
  price_cents bigint NOT NULL CHECK (price_cents > 0),
  status text NOT NULL CHECK (status IN ('confirmed', 'cancelled')),
  idempotency_key text NOT NULL,
  created_at timestamptz NOT NULL,
  cancelled_at timestamptz,
  UNIQUE (user_id, idempotency_key),
  FOREIGN KEY (instance_id, cabin) REFERENCES inventory (instance_id, cabin),
  CHECK ((status = 'cancelled') = (cancelled_at IS NOT NULL))
);

INSERT INTO flights
  SELECT id, number, origin, destination, departs_after, duration, base_price_cents FROM after_0002.flights;
INSERT INTO flight_instances
  SELECT id, flight_id, day, departs_at, arrives_at, status FROM after_0002.flight_instances;
INSERT INTO users
  SELECT u.id, k.email, u.name, u.home_region, k.token_hash
  FROM after_0002.users u JOIN after_0002.user_keys k ON k.user_id = u.id;
INSERT INTO bookings OVERRIDING SYSTEM VALUE
  SELECT b.id, b.user_id, b.instance_id, b.cabin, b.passengers, b.price_cents,
         CASE b.status WHEN 'confirmed' THEN 'confirmed' ELSE 'cancelled' END, k.idempotency_key, b.created_at,
         CASE WHEN b.status <> 'confirmed' THEN coalesce(b.cancelled_at, b.updated_at) END
  FROM after_0002.bookings b JOIN after_0002.booking_keys k USING (id, created_at);
SELECT setval(pg_get_serial_sequence('bookings', 'id'), max(id)) FROM bookings HAVING count(*) > 0;
ALTER TABLE inventory ADD CONSTRAINT inventory_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES flight_instances;

DROP TABLE flight_keys, flight_instance_keys, routes CASCADE;
DROP SCHEMA after_0002 CASCADE;
ALTER TABLE airports DROP CONSTRAINT airports_code_country_key;
