"""Names of keys and ids of decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import RedisCluster

from policies.types import DecisionId, Namespace, PolicyName, ScopeId
from serving.ids import SHARDS, new_decision_id, parse_decision_id, shard_of
from serving.redis.keys import keys_of, scope_of_evidence, slot, tags
from tests.servers import Cluster
from tests.store.conftest import client_of

NAMESPACES = st.text("0123456789abcdef", min_size=12, max_size=12).map(Namespace)


def test_every_shard_has_a_tag_in_its_own_64th_of_the_slots() -> None:
    assert [slot(tag) // 64 for tag in tags()] == list(range(SHARDS))
    assert tags()[:3] == ("460", "14", "278")


@pytest.mark.parametrize("masters", [2, 3, 5, 7, 16])
def test_any_even_split_of_the_slots_splits_the_shards_evenly(masters: int) -> None:
    held = [0] * masters
    for tag in tags():
        held[slot(tag) * masters // 16_384] += 1
    assert max(held) - min(held) <= 2


@pytest.mark.parametrize("scope", ["s", "{t}", "}{", "a:b", "ü ✓"])
async def test_a_cluster_puts_all_keys_of_a_shard_where_we_say(redis_cluster: Cluster, scope: str) -> None:
    client = client_of(redis_cluster)
    assert isinstance(client, RedisCluster)
    policy, who = PolicyName("p"), ScopeId(scope)
    shard = shard_of(policy, who)
    keys = keys_of(shard)
    names = [
        keys.sequence,
        keys.outbox,
        keys.evidence(Namespace("0123456789ab"), who),
        keys.decision(DecisionId("d")),
        keys.reply(policy, who, "{r}"),
        keys.generation(policy, who),
        keys.open(policy, who),
    ]
    assert {await client.execute_command("CLUSTER KEYSLOT", name) for name in names} == {slot(tags()[shard])}
    assert len(set(names)) == len(names)
    await client.aclose()


@given(st.integers(0, SHARDS - 1), NAMESPACES, st.text(min_size=1))
def test_the_scope_of_evidence_can_be_read_off_its_key(shard: int, namespace: Namespace, scope: str) -> None:
    assert scope_of_evidence(keys_of(shard).evidence(namespace, ScopeId(scope))) == (shard, namespace, scope)


@given(st.tuples(st.text(":1s", min_size=1), st.text(":1s")), st.tuples(st.text(":1s", min_size=1), st.text(":1s")))
def test_two_replies_never_share_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    names = [keys_of(0).reply(PolicyName("p"), ScopeId(scope), request_id) for scope, request_id in (one, other)]
    assert (names[0] == names[1]) == (one == other)


@given(st.integers(0, SHARDS - 1), NAMESPACES, st.binary(min_size=12, max_size=12))
def test_an_id_names_its_shard_and_namespace(shard: int, namespace: Namespace, entropy: bytes) -> None:
    made = new_decision_id(shard, namespace, entropy)
    assert parse_decision_id(made) == (shard, namespace)
    assert made.endswith(entropy.hex())
    assert len(made) == 38


@pytest.mark.parametrize("text", ["", "00", "0" * 37, "0" * 39, "0" * 37 + "G", "0" * 37 + "A", "0" * 38 + "\n", "٠" * 38])
def test_any_other_text_is_no_id(text: str) -> None:
    assert parse_decision_id(text) is None


@pytest.mark.parametrize(
    ("shard", "namespace", "size"), [(256, "0" * 12, 12), (-1, "0" * 12, 12), (0, "0" * 11, 12), (0, "z" * 12, 12), (0, "0" * 12, 11)]
)
def test_no_id_is_made_of_the_wrong_parts(shard: int, namespace: str, size: int) -> None:
    with pytest.raises(ValueError, match="no decision id"):
        new_decision_id(shard, Namespace(namespace), bytes(size))


def test_a_scope_stays_in_its_shard_for_ever() -> None:
    assert [shard_of(PolicyName("tips"), ScopeId(scope)) for scope in ("1", "2", "ü")] == [138, 48, 158]
