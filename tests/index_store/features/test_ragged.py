"""Ragged arrays against lists of lists."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.features.ragged import Ragged, expand_ranges

numbers = st.integers(-2**31, 2**31 - 1)
some_lists = st.lists(st.lists(numbers, max_size=5), max_size=8)


def rows(ragged):
    assert (ragged.indptr.dtype, ragged.values.dtype) == (np.int64, np.int32)
    return [ragged.row(r).tolist() for r in range(len(ragged))]


@settings(max_examples=100, deadline=None)
@given(some_lists, some_lists)
def test_every_constructor_gives_the_same_rows_when_lists_are_random(lists, more):
    ragged = Ragged.of(lists)
    lengths = np.array([len(part) for part in lists], np.int64)
    flat = np.array([value for part in lists for value in part], np.int64)
    owners = np.repeat(np.arange(len(lists)), lengths)
    assert rows(ragged) == lists
    assert ragged.lengths.tolist() == lengths.tolist()
    assert rows(Ragged.of_lengths(lengths, flat)) == lists
    assert rows(Ragged.of_owners(owners, len(lists), flat)) == lists
    assert rows(Ragged.concatenated([ragged, Ragged.of(more)])) == lists + more
    assert rows(Ragged.singles(flat)) == [[value] for value in flat.tolist()]
    assert rows(Ragged.one_row(ragged.values)) == [flat.tolist()]


def test_there_are_no_rows_when_nothing_is_concatenated():
    assert rows(Ragged.concatenated([])) == rows(Ragged.of([])) == []


@settings(max_examples=100, deadline=None)
@given(st.data(), some_lists.filter(bool))
def test_rows_come_in_the_order_asked_for_when_they_are_taken(data, lists):
    chosen = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=6))
    assert rows(Ragged.of(lists).take(np.array(chosen, np.int64))) == [lists[row] for row in chosen]
    singles = [part[:1] or [7] for part in lists]
    assert rows(Ragged.of(singles).take(np.array(chosen, np.int64))) == [singles[row] for row in chosen]


def test_lengths_stay_when_values_are_replaced():
    ragged = Ragged.of([[1, 2], [], [3]])
    replaced = ragged.with_values(np.array([7, 8, 9]))
    assert rows(replaced) == [[7, 8], [], [9]]
    assert replaced.indptr is ragged.indptr


def test_one_each_holds_only_when_every_row_has_one_value():
    assert Ragged.of([[1], [2]]).one_each
    assert not Ragged.of([[1, 2], []]).one_each
    assert not Ragged.of([[1], [2, 3]]).one_each


def test_ranges_are_joined_when_some_are_empty():
    assert expand_ranges(np.array([3, 9, 5]), np.array([2, 0, 3])).tolist() == [3, 4, 5, 6, 7]


def test_rows_between_two_are_those_of_take():
    lists = Ragged.of([[1], [], [2, 3], [4]])
    for first, end in ((0, 4), (1, 3), (2, 2), (3, 4)):
        between, taken = lists.between(first, end), lists.take(np.arange(first, end))
        assert (between.indptr.tolist(), between.values.tolist()) == (taken.indptr.tolist(), taken.values.tolist())
