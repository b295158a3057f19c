"""Memory from its users' side: the folder is brought into the store, and what is asked for is found there."""

from activities.memory.embedding import Embedder
from activities.memory.recall import Found, Recall, Wanted
from activities.memory.syncing import Synced, SyncRunning, sync

__all__ = ["Embedder", "Found", "Recall", "SyncRunning", "Synced", "Wanted", "sync"]
