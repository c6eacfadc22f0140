"""Loosening: an ad's predicate without some of its clauses."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from index_store.targeting.predicates import AllOf, AnyOf, Clause, Not, Predicate


def paths_of(predicate: Predicate, path: str = "targeting") -> Iterator[tuple[str, Clause]]:
    """All clauses of a predicate with their paths, such as `targeting.all[1]`, from the first to the last."""
    match predicate:
        case Not(part):
            yield from paths_of(part, f"{path}.not")
        case AllOf(parts) | AnyOf(parts):
            name = "all" if isinstance(predicate, AllOf) else "any"
            for at, part in enumerate(parts):
                yield from paths_of(part, f"{path}.{name}[{at}]")
        case _:
            yield path, predicate


def without(predicate: Predicate, paths: Collection[str], path: str = "targeting") -> Predicate | None:
    """The predicate as if the clauses at some paths had never been written; None if nothing is left.

    A connective goes with its last part. So a clause left out of an `all` lets more users in, one of an `any` fewer.
    """
    match predicate:
        case Not(part):
            rest = without(part, paths, f"{path}.not")
            return None if rest is None else Not(rest)
        case AllOf(parts) | AnyOf(parts):
            name = "all" if isinstance(predicate, AllOf) else "any"
            found = [without(part, paths, f"{path}.{name}[{at}]") for at, part in enumerate(parts)]
            kept = tuple(part for part in found if part is not None)
            return type(predicate)(kept) if kept or not parts else None
        case _:
            return None if path in paths else predicate
