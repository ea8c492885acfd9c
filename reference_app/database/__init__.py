"""The databases of the app: who is asked, through which connections, and what is seen of it."""

from reference_app.database.router import DatabaseBusy, DatabaseDown, Databases, Session, open_pool

__all__ = ["DatabaseBusy", "DatabaseDown", "Databases", "Session", "open_pool"]
