-- Airports, the schedule, seats, users and bookings. All instants are timestamptz, all days are UTC days.

CREATE TABLE airports (
  code text PRIMARY KEY CHECK (code ~ '^[A-Z]{3}$'),
  name text NOT NULL,
  city text NOT NULL,
  country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
  region text NOT NULL,
  latitude double precision NOT NULL,
  longitude double precision NOT NULL
);

-- A flight of the timetable ...
CREATE TABLE flights (
  id bigint PRIMARY KEY,
  number text NOT NULL UNIQUE,
  origin text NOT NULL REFERENCES airports,
  destination text NOT NULL REFERENCES airports,
  departs_after interval NOT NULL,          -- since the start of the UTC day
  duration interval NOT NULL CHECK (duration > interval '0'),
  base_price_cents integer NOT NULL CHECK (base_price_cents > 0),   -- one economy seat
  CHECK (origin <> destination)
);
CREATE INDEX flights_by_route ON flights (origin, destination);

-- ... and what flies on one day.
CREATE TABLE flight_instances (
  id bigint PRIMARY KEY,
  flight_id bigint NOT NULL REFERENCES flights,
  day date NOT NULL,
  departs_at timestamptz NOT NULL,
  arrives_at timestamptz NOT NULL CHECK (arrives_at > departs_at),
  status text NOT NULL DEFAULT 'scheduled' CHECK (status IN ('scheduled', 'delayed', 'cancelled', 'departed')),
  UNIQUE (flight_id, day)
);

-- Seats that can still be sold. The check is the last line of defence against overselling.
CREATE TABLE inventory (
  instance_id bigint NOT NULL REFERENCES flight_instances,
  cabin text NOT NULL CHECK (cabin IN ('economy', 'business')),
  seats_total integer NOT NULL,
  seats_left integer NOT NULL CHECK (seats_left BETWEEN 0 AND seats_total),
  base_price_cents integer NOT NULL CHECK (base_price_cents > 0),
  PRIMARY KEY (instance_id, cabin)
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
