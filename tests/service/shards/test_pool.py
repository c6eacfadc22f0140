"""The connections to one shard: lent, given back, lost, found again, and late ones."""

import threading
import time

import pytest

from service.shards.address_book import AddressBookError
from service.shards.connection import ShardGoneError
from service.shards.pool import ShardPool
from tests.service.cluster.running_shards import until

HERE, THERE = ("here", 1), ("there", 2)


class Planted:
    """A connection that is broken, or has an answer that came late, when the test says so."""

    def __init__(self, address):
        self.address, self.broken, self.readable, self.closed, self.read = address, False, False, False, 0

    def receive(self, until):
        self.readable, self.read = False, self.read + 1

    def close(self):
        self.closed = True


class World:
    def __init__(self):
        self.addresses, self.up, self.made = [HERE], {HERE, THERE}, []

    def connect(self, address):
        if address not in self.up:
            raise ShardGoneError(f"nobody answers at {address[0]}")
        self.made.append(Planted(address))
        return self.made[-1]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def patience():
    """Seconds in which a late answer has to come."""
    return 60.0


@pytest.fixture
def pool(world, patience):
    opened = ShardPool(0, lambda: world.addresses, world.connect, 2, patience)
    yield opened
    opened.close()
    assert all(connection.closed for connection in opened._idle)


def later(seconds=60.0):
    return time.perf_counter() + seconds


def test_each_address_gets_its_connections_and_they_are_lent_in_turn(world, pool):
    world.addresses = [HERE, THERE]
    until(lambda: len(world.made) == 4)
    taken = [pool.take(later()) for _ in range(4)]
    assert sorted(one.address for one in taken) == [HERE, HERE, THERE, THERE]
    assert pool.take(later(0.05)) is None, "all are lent"
    pool.give_back(taken[0])
    assert pool.take(later()) is taken[0]


def test_a_search_waits_for_a_connection_that_is_lent(world, pool):
    until(lambda: len(world.made) == 2)
    taken = [pool.take(later()) for _ in range(2)]
    threading.Timer(0.1, pool.give_back, [taken[1]]).start()
    assert pool.take(later()) is taken[1]


def test_no_search_waits_where_nobody_answers(world, pool):
    until(lambda: len(world.made) == 2)
    world.up.clear()
    for _ in range(2):
        pool.drop(pool.take(later()), "gone")
    began = time.perf_counter()
    assert pool.take(later()) is None
    assert time.perf_counter() - began < 30
    until(lambda: pool.problem == "nobody answers at here")
    assert not pool.wait(0.05)
    world.up.add(HERE)
    assert pool.wait(60.0)


def test_broken_connections_and_those_to_former_addresses_are_replaced(world, pool):
    until(lambda: len(world.made) == 2)
    world.made[0].broken = True
    until(lambda: len(world.made) == 3)
    assert world.made[0].closed
    world.addresses = [THERE]
    until(lambda: len(world.made) == 5)
    until(lambda: all(one.closed for one in world.made[:3]))
    assert pool.take(later()).address == THERE


def test_a_late_answer_is_read_before_its_connection_is_lent_again(world, pool):
    until(lambda: len(world.made) == 2)
    first, second = pool.take(later()), pool.take(later())
    pool.give_back_late(first)
    assert pool.take(later(0.05)) is None
    first.readable = True
    assert pool.take(later()) is first
    assert first.read == 1
    pool.give_back(second)


def test_who_waits_gets_a_connection_whose_answer_came_late(world, pool):
    until(lambda: len(world.made) == 2)
    first, _ = pool.take(later()), pool.take(later())
    taken = []
    waiting = threading.Thread(target=lambda: taken.append(pool.take(later())))
    waiting.start()
    time.sleep(0.1)
    first.readable = True
    pool.give_back_late(first)
    waiting.join(60)
    assert taken == [first]


def test_an_address_that_opens_nothing_keeps_no_other_waiting(world):
    hung, go_on = ("hung", 3), threading.Event()

    def connect(address):
        if address == hung:
            go_on.wait(60)
            raise ShardGoneError("it has not opened")
        return world.connect(address)

    world.addresses = [hung, HERE]
    pool = ShardPool(0, lambda: world.addresses, connect, 1, 60.0)
    assert pool.wait(60.0)
    world.addresses = [hung, THERE]
    until(lambda: world.made[0].closed)
    until(lambda: [one.address for one in world.made] == [HERE, THERE])
    pool.close()
    go_on.set()


def test_what_is_given_back_to_a_closed_pool_is_closed(world, pool):
    until(lambda: len(world.made) == 2)
    taken = [pool.take(later()) for _ in range(2)]
    pool.close()
    pool.give_back(taken[0])
    pool.give_back_late(taken[1])
    assert all(one.closed for one in taken)


@pytest.mark.parametrize("patience", [0.3])
def test_a_connection_is_given_up_when_its_answer_never_comes(world, pool):
    until(lambda: len(world.made) == 2)
    first = pool.take(later())
    pool.give_back_late(first)
    until(lambda: first.closed)
    until(lambda: len(world.made) == 3)


def test_a_bad_address_book_is_the_problem_until_it_is_mended(world):
    def addresses():
        if world.addresses is None:
            raise AddressBookError("it is no address book")
        return world.addresses

    world.addresses = None
    pool = ShardPool(0, addresses, world.connect, 1, 60.0)
    until(lambda: pool.problem == "it is no address book")
    world.addresses = [HERE]
    assert pool.wait(60.0)
    pool.close()
    until(lambda: world.made[0].closed)
