"""The store in MongoDB, for any number of processes on any hosts. It needs a replica set, of one member at least."""

from postroom.store.mongo.connection import check_url
from postroom.store.mongo.store import MongoStore

__all__ = ["MongoStore", "check_url"]
