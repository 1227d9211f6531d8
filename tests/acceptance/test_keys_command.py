"""`postroom keys`: with a running service, with a store that nobody has open, and without either."""

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from postroom import keyring
from postroom.mail.api_key import FULL_ACCESS
from postroom.store.sqlite import SqliteStore
from tests.acceptance.command import postroom
from tests.acceptance.conftest import Start

OFFLINE = {"POSTROOM_API_KEY": "", "POSTROOM_API_URL": ""}


def test_keys_are_made_listed_and_revoked_while_the_service_runs_and_while_it_does_not(start: Start) -> None:
    service = start()
    code, token, _ = postroom("keys", "create", "reporting", "--sending-only", service=service)
    assert code == 0
    assert service.request("GET", "/emails", key=token.strip()).json()["name"] == "restricted_api_key"
    service.stop()
    keys = json.loads(postroom("keys", "list", "--json", service=service, **OFFLINE)[1])
    made = next(key for key in keys if key["name"] == "reporting")
    assert made["permission"] == "sending_access"
    assert postroom("keys", "revoke", made["id"], service=service, **OFFLINE)[0] == 0
    service.start()
    assert service.request("POST", "/emails", key=token.strip(), json={}).json()["name"] == "invalid_api_key"


def test_key_minted_elsewhere_is_valid_once_it_was_added_and_stays_as_it_is(start: Start) -> None:
    service = start()
    minted = postroom("keys", "mint", service=service)[1].strip()
    assert service.request("GET", "/emails", key=minted).json()["name"] == "invalid_api_key"
    service.stop()
    for _ in range(2):
        assert postroom("keys", "add", "stack", words=f"{minted}\n", service=service)[0] == 0
    keys = json.loads(postroom("keys", "list", "--json", service=service, **OFFLINE)[1])
    assert [key["name"] for key in keys].count("stack") == 1
    code, _, err = postroom("keys", "add", words=minted[:-1], service=service)
    assert code == 1
    assert "not a key" in err
    service.start()
    assert service.request("GET", "/emails", key=minted).status_code == 200


def test_lost_key_is_helped(start: Start) -> None:
    service = start()
    for url in (service.address, ""):
        code, _, err = postroom("keys", "create", service=service, POSTROOM_API_KEY="", POSTROOM_API_URL=url)
        assert code == 2
        assert "run `postroom keys create`" in err
    service.stop()
    code, out, err = postroom("keys", "create", service=service, **OFFLINE)
    assert (code, out[:3], err) == (0, "pr_", "")


def test_first_key_makes_a_store_and_names_it(tmp_path: Path) -> None:
    code, out, err = postroom("keys", "create", folder=tmp_path)
    assert (code, out[:3]) == (0, "pr_")
    assert f"{tmp_path}/data/postroom.sqlite3 is new" in err


@pytest.mark.parametrize("command", [("list",), ("revoke", "0123456789ab")])
def test_keys_of_a_store_that_is_not_there_are_an_error_and_no_store_is_made(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    code, out, err = postroom("keys", *command, folder=tmp_path)
    assert (code, out) == (1, "")
    for word in (f"{tmp_path}/data/postroom.sqlite3", "POSTROOM_STORE_URL", "POSTROOM_API_KEY"):
        assert word in err
    assert list(tmp_path.iterdir()) == []


def test_running_service_is_asked_from_a_folder_without_a_store(start: Start, tmp_path: Path) -> None:
    service, elsewhere = start(), tmp_path / "elsewhere"
    elsewhere.mkdir()
    given = {"POSTROOM_API_KEY": service.key, "POSTROOM_API_URL": service.address}
    code, out, _ = postroom("keys", "create", "reporting", "--json", folder=elsewhere, **given)
    assert code == 0
    made = json.loads(out)
    assert service.request("GET", "/emails", key=made["token"]).status_code == 200
    listed = postroom("keys", "list", "--url", service.address, "--key", service.key, folder=elsewhere)[1]
    assert made["id"] in listed
    assert postroom("keys", "revoke", made["id"], folder=elsewhere, **given)[:2] == (0, f"{made['id']} revoked\n")
    assert service.request("GET", "/emails", key=made["token"]).status_code in (401, 403)
    assert made["id"] not in postroom("keys", "list", folder=elsewhere, **given)[1]
    assert (
        f"{made['id']}  full_access     revoked" in postroom("keys", "list", "--revoked", folder=elsewhere, **given)[1]
    )
    assert list(elsewhere.iterdir()) == []


def test_stopped_service_is_told_from_the_store_that_could_be_opened(start: Start) -> None:
    service = start()
    service.stop()
    code, out, err = postroom("keys", "list", service=service)
    assert (code, out) == (1, "")
    assert f"cannot reach {service.address}" in err
    assert f"{service.folder}/data/postroom.sqlite3" in err


@pytest.mark.parametrize("wrong", [("--domain", "@example.com", "x"), ("--domain", "", "x"), ("a\nb",), ("",)])
def test_key_that_could_never_be_used_is_not_made(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    code, out, err = postroom("keys", "create", *wrong, folder=tmp_path)
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert postroom("keys", "list", folder=tmp_path)[1].strip() == ""


def test_list_tells_which_keys_have_expired_and_which_are_bound_to_domains(start: Start, tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "data" / "postroom.sqlite3")) as store:
        now = store.clock()
        for name, expires_at in (("old", now), ("new", now + timedelta(hours=1))):
            keyring.create("default", name, scopes=FULL_ACCESS, expires_at=expires_at, store=store)
        _, token = keyring.create("default", "shop", scopes=FULL_ACCESS, domains=["example.com"], store=store)
    offline = postroom("keys", "list", folder=tmp_path)[1]
    service = start()
    service.key = token
    for out in (offline, postroom("keys", "list", service=service)[1]):
        states = {line.split()[3]: line.split(maxsplit=2)[2] for line in out.splitlines()}
        assert states["old"].startswith("expired")
        assert states["new"].startswith("active")
        assert states["shop"] == "active   shop  (only for senders of example.com)"


def test_domain_of_a_key_is_written_as_addresses_have_it(tmp_path: Path) -> None:
    assert postroom("keys", "create", "--domain", "Bücher.example", "shop", folder=tmp_path)[0] == 0
    (key,) = json.loads(postroom("keys", "list", "--json", folder=tmp_path)[1])
    assert key["domains"] == ["xn--bcher-kva.example"]
