"""The SQL of bookings. In which transactions it runs, and what follows, is the booking store's business."""

from __future__ import annotations

SELECT = """
SELECT b.id, b.user_id, b.instance_id AS flight_id, b.cabin, b.passengers, b.price_cents, b.status, b.created_at,
       b.cancelled_at, b.hold_expires_at, b.changed_from, i.origin, i.destination, i.day, p.status AS payment
FROM booking_keys k JOIN bookings b ON b.id = k.id AND b.created_at = k.created_at
JOIN flight_instances i ON i.id = b.instance_id
LEFT JOIN LATERAL (SELECT status FROM payments WHERE booking_id = k.id ORDER BY id DESC LIMIT 1) p ON true
"""
_ITS_QUARTER = "b.created_at = (SELECT created_at FROM booking_keys WHERE id = %(id)s)"  # a join would open all
BY_ID = SELECT + f"WHERE b.id = %(id)s AND b.user_id = %(user_id)s AND {_ITS_QUARTER}"
BY_KEY = SELECT + "WHERE k.user_id = %(user_id)s AND k.idempotency_key = %(key)s"
LOCKED = SELECT + f"WHERE b.id = %(id)s AND {_ITS_QUARTER} FOR UPDATE OF b"
# One statement, so that the inventory row is locked for as short as may be. An empty `key` is a repetition, an empty
# `booked` a flight without enough seats: then the whole is rolled back.
HOLD = """
WITH key AS (
  INSERT INTO booking_keys (created_at, user_id, idempotency_key) VALUES (%(now)s, %(user_id)s, %(key)s)
  ON CONFLICT (user_id, idempotency_key) DO NOTHING RETURNING id, created_at
), taken AS (
  UPDATE inventory v SET seats_left = v.seats_left - %(passengers)s
  FROM key, flight_instances i
  WHERE v.instance_id = %(flight_id)s AND v.cabin = %(cabin)s AND i.id = v.instance_id
    AND v.seats_left >= %(passengers)s AND i.departs_at > %(now)s AND i.status IN ('scheduled', 'delayed')
  RETURNING i.origin, i.destination, i.day
), booked AS (
  INSERT INTO bookings (id, created_at, user_id, instance_id, cabin, passengers, price_cents, status, hold_expires_at,
                        changed_from)
  SELECT key.id, key.created_at, %(user_id)s, %(flight_id)s, %(cabin)s, %(passengers)s, %(price_cents)s, 'held',
         %(hold_expires_at)s, %(changed_from)s
  FROM key, taken RETURNING id
), paying AS (
  INSERT INTO payments (booking_id, amount_cents, method_token, status, idempotency_key, created_at, updated_at)
  SELECT id, %(price_cents)s, %(method)s, 'pending', %(key)s, %(now)s, now() FROM booked
  WHERE %(method)s::text IS NOT NULL RETURNING id
)
SELECT key.id, booked.id, paying.id, taken.origin, taken.destination, taken.day
FROM key LEFT JOIN taken ON true LEFT JOIN booked ON true LEFT JOIN paying ON true
"""
# The measure switched off: what was free when the statement began is taken for free, whoever took it meanwhile.
HOLD_WITHOUT_LOCK = HOLD.replace(
    "UPDATE inventory v SET seats_left = v.seats_left - %(passengers)s\n  FROM key, flight_instances i",
    "UPDATE inventory v SET seats_left = seen.seats_left - %(passengers)s\n  FROM key, flight_instances i,"
    " (SELECT seats_left FROM inventory WHERE instance_id = %(flight_id)s AND cabin = %(cabin)s) seen",
).replace("AND v.seats_left >= %(passengers)s", "AND seen.seats_left >= %(passengers)s")
TRAVELLERS = """
INSERT INTO passengers (booking_id, position, name, document, birth_date)
SELECT %(id)s, t.position, t.name, t.document, t.birth_date
FROM unnest(%(names)s::text[], %(documents)s::text[], %(births)s::date[])
     WITH ORDINALITY AS t (name, document, birth_date, position)
"""
SET_STATUS = """
UPDATE bookings SET status = %(status)s, updated_at = now(),
       cancelled_at = CASE WHEN %(status)s = 'cancelled' THEN %(now)s::timestamptz END
WHERE id = %(id)s AND created_at = %(created_at)s
"""
GIVE_SEATS_BACK = """
UPDATE inventory SET seats_left = seats_left + %(passengers)s
WHERE instance_id = %(flight_id)s AND cabin = %(cabin)s
"""
# One at a time and skipping what others have in hand: the sweep may run in several places. A hold whose payment is not
# decided is left to whoever settles the payment.
EXPIRED = """
SELECT b.id FROM bookings b
WHERE b.status = 'held' AND b.hold_expires_at <= %(now)s
  AND NOT EXISTS (SELECT FROM payments p WHERE p.booking_id = b.id AND p.status IN ('pending', 'timed_out'))
ORDER BY b.hold_expires_at LIMIT 1 FOR UPDATE OF b SKIP LOCKED
"""
ACTIVE_OF_USER = """
SELECT b.id, b.created_at FROM bookings b
WHERE b.user_id = %(user_id)s AND b.status IN ('confirmed', 'held')
  AND (b.created_at, b.id) < (%(before)s, %(before_id)s)
ORDER BY b.created_at DESC, b.id DESC LIMIT %(limit)s OFFSET %(offset)s
"""
ALL_OF_USER = """
SELECT k.id, k.created_at FROM booking_keys k
WHERE k.user_id = %(user_id)s AND (k.created_at, k.id) < (%(before)s, %(before_id)s)
ORDER BY k.created_at DESC, k.id DESC LIMIT %(limit)s OFFSET %(offset)s
"""
OF_USER = {
    active: f"WITH page AS ({query}) {SELECT} JOIN page ON page.id = k.id ORDER BY k.created_at DESC, k.id DESC"
    for active, query in ((True, ACTIVE_OF_USER), (False, ALL_OF_USER))
}
