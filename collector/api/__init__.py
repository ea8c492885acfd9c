"""The collector over HTTP: one module per subject, put together in `app`."""
