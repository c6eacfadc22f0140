"""Predicate program: all predicates of a catalogue as one flat circuit, evaluated level by level in numpy.

There is no loop over predicates or ads. Every connective becomes an AND over signed inputs (`any` by De Morgan), so a
value is a literal: 2 x node for a node's truth, 2 x node + 1 for its negation. Equal parts are one node, however many
ads use them. Nodes are numbered

    0           always true
    1 ..        clauses with bounds, all compared at once
    ..          clauses `in`, found by looking up the values of the attributes
    ..          clauses about places, all compared at once
    ..          ANDs, level by level
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from index_store.features.encoder import FeatureEncoder
from index_store.features.ragged import Ragged
from index_store.features.vocabulary import look_up
from index_store.targeting.attributes import Attributes, encoded_bounds
from index_store.targeting.near_clauses import NO_CLAUSES, NearClauses
from index_store.targeting.predicates import AllOf, AnyOf, Near, Not, OneOf, Predicate, Within

ALWAYS = 0
"""Literal that is true."""


class ProgramError(ValueError):
    """The arrays do not form a program; `part` names the one at fault."""

    def __init__(self, part: str, fact: str) -> None:
        super().__init__(f"{part}: {fact}")
        self.part, self.fact = part, fact


@dataclass(frozen=True)
class SetClauses:
    """The `in` clauses that read one field.

    Attributes:
        field: its name.
        values: (V,) sorted distinct bytes, every value that a clause names.
        nodes: for each value, the nodes of the clauses that name it.
    """

    field: str
    values: NDArray[np.bytes_]
    nodes: Ragged


@dataclass(frozen=True)
class PredicateProgram:
    """A compiled list of P predicates over the fields of users and context.

    Attributes:
        range_fields: names of the dense fields that clauses read.
        range_of: (R,) int32 index into `range_fields`, one per clause with bounds.
        lower, upper: (R,) float32 encoded bounds, both inclusive, infinite where a clause has none.
        sets: `in` clauses by field; `n_sets` counts them.
        gates: for each AND, its literals; at least one.
        level_ends: number of ANDs up to the end of each level; inputs lie in earlier levels.
        roots: (P,) int32 literal of each predicate.
        near: the clauses about places.

    Raises:
        ProgramError: the arrays do not fit each other.
    """

    range_fields: tuple[str, ...]
    range_of: NDArray[np.int32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    sets: tuple[SetClauses, ...]
    n_sets: int
    gates: Ragged
    level_ends: tuple[int, ...]
    roots: NDArray[np.int32]
    near: NearClauses = NO_CLAUSES

    def __post_init__(self) -> None:
        ranges, nodes = len(self.range_of), self.n_nodes
        _within("range_of", self.range_of, 0, len(self.range_fields))
        for clauses in self.sets:
            if (clauses.values[1:] <= clauses.values[:-1]).any():
                raise ProgramError(f"values of {clauses.field}", "are not sorted and distinct")
            _rising(f"nodes of {clauses.field}", clauses.nodes.indptr, 0)
            _within(f"nodes of {clauses.field}", clauses.nodes.values, 1 + ranges, 1 + ranges + self.n_sets)
        misfit = self.near.misfit()
        if misfit is not None:
            raise ProgramError("near", misfit)
        ends = (0, *self.level_ends)
        if ends[-1] != len(self.gates) or any(b <= a for a, b in pairwise(ends)):
            raise ProgramError("level_ends", f"{list(self.level_ends)} do not rise to the {len(self.gates)} gates")
        _rising("gates", self.gates.indptr, 1)
        for start, end in pairwise(ends):
            inputs = self.gates.values[self.gates.indptr[start] : self.gates.indptr[end]]
            _within("gates", inputs, 0, 2 * (self._first_gate + start))
        _within("roots", self.roots, 0, 2 * nodes)

    @property
    def n_nodes(self) -> int:
        return self._first_gate + len(self.gates)

    @property
    def _first_gate(self) -> int:
        return 1 + len(self.range_of) + self.n_sets + len(self.near)

    @cached_property
    def fields(self) -> frozenset[str]:
        """Names of all fields that a predicate reads."""
        return frozenset((*self.range_fields, *(clauses.field for clauses in self.sets), *self.near.fields))

    @cached_property
    def reads_place(self) -> NDArray[np.bool_]:
        """(P,) bool: predicates with a clause about places, whose truth differs from request to request."""
        reads, first, start = np.zeros(self.n_nodes, np.bool_), self._first_gate, 0
        reads[first - len(self.near) : first] = True
        for end in self.level_ends:
            low, high = self.gates.indptr[start], self.gates.indptr[end]
            np.logical_or.reduceat(reads[self.gates.values[low:high] >> 1], self.gates.indptr[start:end] - low,
                                   out=reads[first + start : first + end])
            start = end
        found: NDArray[np.bool_] = reads[self.roots >> 1]
        return found

    def truth(self, attributes: Attributes) -> NDArray[np.bool_]:
        """Which predicates hold: (P,) bool. A clause about a missing value does not."""
        holds = np.zeros((self.n_nodes, 2), np.bool_)  # a node's truth and its negation, side by side: by literal
        holds[0, 0] = True
        if self.range_fields:
            values = np.array([attributes.get(name, np.nan) for name in self.range_fields], np.float32)[self.range_of]
            holds[1 : 1 + len(values), 0] = (values >= self.lower) & (values <= self.upper)
        for clauses in self.sets:
            keys = attributes.get(clauses.field)
            if keys:
                at = look_up(clauses.values, np.array(keys))
                holds[clauses.nodes.take(at[at >= 0]).values, 0] = True
        first = self._first_gate
        holds[first - len(self.near) : first, 0] = self.near.truth(attributes)
        np.logical_not(holds[:first, 0], out=holds[:first, 1])
        by_literal, start = holds.reshape(-1), 0
        for end in self.level_ends:
            low, high = self.gates.indptr[start], self.gates.indptr[end]
            inputs = by_literal[self.gates.values[low:high]]
            level = holds[first + start : first + end]
            np.logical_and.reduceat(inputs, self.gates.indptr[start:end] - low, out=level[:, 0])
            np.logical_not(level[:, 0], out=level[:, 1])
            start = end
        return by_literal[self.roots]


def compile_predicates(predicates: Sequence[Predicate], encoder: FeatureEncoder) -> PredicateProgram:
    """Compiles predicates over the fields of users and context; root p is that of predicate p."""
    builder = _Builder(encoder)
    roots = [builder.literal(predicate) for predicate in predicates]
    return builder.program(roots)


class _Builder:
    """Collects distinct nodes as they are found, and numbers them by kind and level at the end."""

    def __init__(self, encoder: FeatureEncoder) -> None:
        self._encoder = encoder
        self._nodes: dict[object, int] = {"always": 0}  # what a node is -> its number in the order found
        self._levels = [0]

    def literal(self, predicate: Predicate) -> int:
        match predicate:
            case Not(part):
                return self.literal(part) ^ 1
            case AllOf(parts):
                return self._gate([self.literal(part) for part in parts])
            case AnyOf(parts):
                return self._gate([self.literal(part) ^ 1 for part in parts]) ^ 1
            case OneOf(_, values):
                return 2 * self._node(predicate, 0) if values else ALWAYS ^ 1
            case Within(field):
                return 2 * self._node((field, *encoded_bounds(self._encoder, "user", predicate)), 0)
            case Near():
                return 2 * self._node(predicate, 0)

    def program(self, roots: list[int]) -> PredicateProgram:
        ranges = [key for key in self._nodes if isinstance(key, tuple)]
        sets = [key for key in self._nodes if isinstance(key, OneOf)]
        near = [key for key in self._nodes if isinstance(key, Near)]
        gates = sorted((key for key in self._nodes if isinstance(key, frozenset)),
                       key=lambda key: self._levels[self._nodes[key]])
        order = ["always", *ranges, *sets, *near, *gates]
        number = np.empty(len(order), np.int64)
        number[[self._nodes[key] for key in order]] = np.arange(len(order))

        def renumbered(literals: Sequence[int]) -> NDArray[np.int32]:
            old = np.array(literals, np.int64)
            new: NDArray[np.int32] = (2 * number[old >> 1] + (old & 1)).astype(np.int32)
            return new

        levels = [self._levels[self._nodes[key]] for key in gates]
        fields = sorted({field for field, *_ in ranges})
        return PredicateProgram(
            tuple(fields), np.array([fields.index(field) for field, *_ in ranges], np.int32),
            np.array([lower for _, lower, _ in ranges], np.float32),
            np.array([upper for *_, upper in ranges], np.float32),
            _by_field(sets, 1 + len(ranges)), len(sets), Ragged.of([np.sort(renumbered(list(key))) for key in gates]),
            tuple(np.searchsorted(levels, np.arange(1, max(levels, default=0) + 1), side="right").tolist()),
            renumbered(roots), NearClauses.of(near))

    def _gate(self, literals: list[int]) -> int:
        """AND of literals, simplified where it is constant or has a single input."""
        inputs = frozenset(literals) - {ALWAYS}
        if ALWAYS ^ 1 in inputs or any(literal ^ 1 in inputs for literal in inputs):
            return ALWAYS ^ 1
        if len(inputs) < 2:
            return next(iter(inputs), ALWAYS)
        return 2 * self._node(inputs, 1 + max(self._levels[literal >> 1] for literal in inputs))

    def _node(self, key: object, level: int) -> int:
        if key not in self._nodes:
            self._nodes[key] = len(self._levels)
            self._levels.append(level)
        return self._nodes[key]


def _by_field(sets: Sequence[OneOf], first_node: int) -> tuple[SetClauses, ...]:
    """The `in` clauses by field, as value -> nodes; the nodes of the clauses count from `first_node`."""
    nodes_of: dict[str, dict[bytes, list[int]]] = {}
    for node, clause in enumerate(sets, start=first_node):
        values = nodes_of.setdefault(clause.field, {})
        for value in clause.values:
            values.setdefault(value, []).append(node)
    return tuple(SetClauses(field, np.array(sorted(values)), Ragged.of([values[value] for value in sorted(values)]))
                 for field, values in sorted(nodes_of.items()))


def _within(part: str, values: NDArray[np.integer], low: int, high: int) -> None:
    if len(values) and (values.min() < low or values.max() >= high):
        raise ProgramError(part, f"holds numbers from {values.min()} to {values.max()}, allowed are {low} to "
                                 f"{high - 1}")


def _rising(part: str, indptr: NDArray[np.int64], least: int) -> None:
    if (indptr[1:] - indptr[:-1] < least).any():
        raise ProgramError(part, f"has a list of fewer than {least} entries")
