"""The real servers, for every tier that asks; and fleets around them."""

pytest_plugins = [
    "tests.servers.mongodb",
    "tests.servers.rabbitmq",
    "tests.servers.redis",
    "tests.fleet",  # imports the servers, and must come after them
]
