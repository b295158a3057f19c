"""What must last (sessions, facts, turns, conversations; SQLite or PostgreSQL), and the live bus that makes it fast."""

from store.database import Database, StoreUnavailable, migrate_database, open_database
from store.store import Store, open_bus, open_store

__all__ = ["Database", "Store", "StoreUnavailable", "migrate_database", "open_bus", "open_database", "open_store"]
