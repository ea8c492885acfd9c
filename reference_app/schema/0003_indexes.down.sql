-- The indexes of the partitions go with those of the whole.
DROP INDEX flight_instances_open, bookings_of_user, bookings_by_month;
