"""The real servers, for every tier that asks."""

pytest_plugins = ["tests.servers.mongodb", "tests.servers.rabbitmq", "tests.servers.redis"]
