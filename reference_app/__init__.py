"""The flight-booking API that Tidegauge proves itself on. It meets the platform over HTTP only."""
