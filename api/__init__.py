"""FastAPI: starts sessions, streams their events with resume, answers queries, serves history (CONTRACT)."""
