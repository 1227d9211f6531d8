"""A running `postroom serve` of a fleet: processes of their own behind one port."""

import json
from typing import Any

import httpx

from tests.fleet import Fleet

EMAIL = {"from": "ann@example.com", "to": "bob@example.net", "subject": "s", "text": "t"}
SECONDS = 10.0


class Api:
    """The processes, and a key for them; the fleet has `port`, and ends them. Without `key` one is made, for which the
    store must be there."""

    def __init__(self, fleet: Fleet, key: str | None = None, **variables: str) -> None:
        self.address = f"http://127.0.0.1:{fleet.variables['POSTROOM_PORT']}"
        self.process = fleet.start("postroom", "serve", **variables)
        fleet.wait(self.answers, "the API answers", self.process)
        self.key = key or make_key(fleet)

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            return self.request("GET", "/livez", key="").is_success
        except httpx.HTTPError:
            return False

    def request(self, method: str, path: str, *, key: str | None = None, **more: Any) -> httpx.Response:
        """One request on a connection of its own."""
        token = self.key if key is None else key
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.request(method, f"{self.address}{path}", headers=headers, timeout=SECONDS, trust_env=False, **more)

    def submit(self) -> str:
        """Submits one email and returns its id."""
        answer = self.request("POST", "/emails", json=EMAIL)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])


def make_key(fleet: Fleet) -> str:
    """A key for the API, made on the command line."""
    return str(json.loads(fleet.run("keys", "create", "--json").stdout)["token"])
