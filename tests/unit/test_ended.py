"""What a process remembers of the claims that it has settled in MongoDB."""

from collections.abc import Sequence

from postroom.store.mongo.ended import Ended


def remembered(ended: Ended, claims: dict[str, Sequence[str]]) -> int:
    return sum(len(ids) - len(ended.without(token, ids)) for token, ids in claims.items())


def test_settled_claims_are_remembered_by_their_tokens() -> None:
    ended = Ended()
    ended.add("token", ["a", "b"])
    ended.add("token", ["b", "c"])
    assert ended.without("token", ["a", "b", "c", "d"]) == ["d"]
    assert ended.without("other", ["a"]) == ["a"]


def test_the_latest_of_so_many_are_remembered_however_many_share_a_token() -> None:
    for share in (1, 100, 1000):
        ended = Ended()
        claims = {f"token-{n}": [f"{n}-{i}" for i in range(share)] for n in range(30_000 // share)}
        for token, ids in claims.items():
            ended.add(token, ids)
        assert remembered(ended, claims) == 10_000
        assert ended.without(token, ids) == []
