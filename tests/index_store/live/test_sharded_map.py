"""Sharded maps against dictionaries, and their bound."""

from hypothesis import given
from hypothesis import strategies as some

from index_store.live.sharded_map import SHARDS, ShardedMap

KEYS = [b"%d" % number for number in range(12)]


@given(some.lists(some.dictionaries(some.sampled_from(KEYS), some.none() | some.binary(max_size=3)), max_size=6))
def test_every_version_holds_what_a_dictionary_would(batches):
    versions, plain = [ShardedMap.of(1 << 62)], [{}]
    for batch in batches:
        versions.append(versions[-1].replaced(batch))
        plain.append({key: value for key, value in (plain[-1] | batch).items() if value is not None})
    for found, expected in zip(versions, plain, strict=True):
        assert {key: found.get(key) for key in KEYS} == {key: expected.get(key) for key in KEYS}
        assert found.count == len(expected)


def test_entries_that_were_set_least_recently_go():
    small = ShardedMap.of(2 * SHARDS)
    together = [key for key in (b"%d" % number for number in range(10 * SHARDS)) if hash(key) % SHARDS == 7][:4]
    small = small.replaced(dict.fromkeys(together[:2], b"x"))
    small = small.replaced({together[0]: b"again"}).replaced({together[2]: b"x"})
    assert [small.get(key) for key in together[:3]] == [b"again", None, b"x"]
    assert small.count == 2


def test_map_stays_the_same_object_when_nothing_changes():
    empty = ShardedMap.of(5)
    assert empty.replaced({}) is empty
