-- Everything goes.
DROP TABLE bookings, users, inventory, flight_instances, flights, airports;
