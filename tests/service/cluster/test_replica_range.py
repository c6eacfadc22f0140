"""The number of replicas of each shard, as people write it."""

import pytest

from service.cluster.replica_range import ReplicaRange, parse_replicas


@pytest.mark.parametrize(("text", "expected"), [("2", (2, 2)), (2, (2, 2)), ("1-4", (1, 4)), ("3-3", (3, 3)),
                                                ("10-12", (10, 12))])
def test_a_number_is_fixed_and_a_range_is_not(text, expected):
    assert parse_replicas(text) == ReplicaRange(*expected)


@pytest.mark.parametrize(("text", "said"), [
    ("4-1", "replicas '4-1' end at 1, before they begin at 4; write 1-4"),
    ("0", "replicas '0' begin at 0; each shard needs 1 at least"), (0, "replicas 0 begin at 0"),
    ("0-3", "replicas '0-3' begin at 0"), *((text, "are neither a number nor a range; write 2, or 1-4")
                                            for text in ("", "many", "1-", "-4", "1-2-3", "1.5", "1 - 4", -1, "1-4\n",
                                                         True, 1.5, "²"))])
def test_what_is_neither_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        parse_replicas(text)
