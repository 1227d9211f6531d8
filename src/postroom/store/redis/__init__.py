"""The store on one Redis server: emails in hashes, their indexes in sorted sets, each transition one Lua script."""

from postroom.store.redis.connections import check_url
from postroom.store.redis.store import RedisStore

__all__ = ["RedisStore", "check_url"]
