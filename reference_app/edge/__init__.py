"""The edge tier: a caching reverse proxy near the users of each region, in front of the app's own front.

`shelves` decides what is kept and what is fresh (pure but for its clock), `origin` asks the origin, `app` answers
viewers. Run as `tidegauge edge` or `python -m reference_app.edge`.
"""
