"""The stack in containers, from outside: `make test-stack`. Needs Docker, and is no part of `make test`."""
