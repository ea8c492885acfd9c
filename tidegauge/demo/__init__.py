"""The demo: history, a window that ends now, live load along its curve, and what came of it."""
