"""Files of targeting: the predicates of a bundle's ads as flat arrays, memory-mapped and checked before use.

A bundle whose ads have no predicates has none of these files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.declaration.spec import FeatureSpec
from index_store.targeting.near_clauses import NO_CLAUSES, NearClauses
from index_store.targeting.predicate_program import PredicateProgram, ProgramError, SetClauses
from index_store.targeting.targeting import AdTargeting


def write_targeting(writer: BundleWriter, ads: AdTargeting) -> None:
    """Writes the files of `targeting/`."""
    program = ads.program
    writer.json(layout.TARGETING, {
        "predicates": len(program.roots) - 1, "range_fields": program.range_fields, "ranges": len(program.range_of),
        "set_fields": [clauses.field for clauses in program.sets], "sets": program.n_sets, "gates": len(program.gates),
        "level_ends": program.level_ends, "near_fields": program.near.fields, "near": len(program.near)})
    for name, values in (("of_position", ads.of_position), ("text", ads.text), ("text_ends", ads.text_ends),
                         ("roots", program.roots), ("range_of", program.range_of), ("lower", program.lower),
                         ("upper", program.upper)):
        writer.array(layout.targeting_array(name), values)
    writer.ragged(layout.TARGETING_GATES, program.gates)
    for clauses in program.sets:
        writer.array(layout.targeting_array(f"values.{clauses.field}"), clauses.values)
        writer.ragged(layout.targeting_lists(clauses.field), clauses.nodes)
    if len(program.near):
        near: dict[str, NDArray[Any]] = {"near_of": program.near.field_of, "near_outside": program.near.outside,
                                         "near_starts": program.near.starts, "circles": program.near.circles}
        for name, part in near.items():
            writer.array(layout.targeting_array(name), part)


def read_targeting(files: BundleFiles, spec: FeatureSpec) -> AdTargeting | None:
    """The predicates of a bundle's ads; None if it has none.

    Raises:
        BundleError: a file is missing or does not fit the others.
    """
    if layout.TARGETING not in files.manifest.files:
        return None
    counts = files.json(layout.TARGETING)
    try:
        n, ranges, gates = counts["predicates"] + 1, counts["ranges"], counts["gates"]
        range_fields, set_fields = tuple(counts["range_fields"]), tuple(counts["set_fields"])
        n_sets, level_ends = int(counts["sets"]), tuple(map(int, counts["level_ends"]))
        near_fields, n_near = tuple(counts.get("near_fields", ())), int(counts.get("near", 0))  # none before version 7
    except (KeyError, TypeError, ValueError) as error:
        raise files.error(layout.TARGETING, f"does not hold the counts of predicates ({error!r})") from error
    kinds = spec.audience_kinds
    misfits = [*(field for field in range_fields if kinds.get(field) != "dense"),
               *(field for field in set_fields if kinds.get(field) not in ("categorical", "multi")),
               *(field for field in near_fields if kinds.get(field) != "location")]
    if misfits:
        raise files.error(layout.TARGETING, f"has clauses that read {misfits}, but {layout.FEATURES} declares {kinds}")
    sets = []
    for field in set_fields:
        values = files.array(layout.targeting_array(f"values.{field}"), "S", (None,))
        sets.append(SetClauses(field, values, files.ragged(layout.targeting_lists(field), len(values))))
    of_position = files.array(layout.targeting_array("of_position"), np.int32, (files.manifest.counts["items"],))
    if not (of_position.min() >= 0 and of_position.max() < n):
        raise files.error(layout.targeting_array("of_position"),
                          f"has numbers from {of_position.min()} to {of_position.max()}, there are {n - 1} predicates")
    text = files.array(layout.targeting_array("text"), np.uint8, (None,))
    ends = files.array(layout.targeting_array("text_ends"), np.int64, (n,))
    if ends[0] != 0 or ends[-1] != len(text) or (ends[1:] <= ends[:-1]).any():
        raise files.error(layout.targeting_array("text_ends"), f"does not rise from 0 to the {len(text)} bytes of text")
    try:
        program = PredicateProgram(
            range_fields, files.array(layout.targeting_array("range_of"), np.int32, (ranges,)),
            files.array(layout.targeting_array("lower"), np.float32, (ranges,)),
            files.array(layout.targeting_array("upper"), np.float32, (ranges,)),
            tuple(sets), n_sets, files.ragged(layout.TARGETING_GATES, gates), level_ends,
            files.array(layout.targeting_array("roots"), np.int32, (n,)), _read_near(files, near_fields, n_near))
    except ProgramError as error:
        raise files.error("targeting", str(error)) from error
    return AdTargeting(of_position, program, text, ends)


def _read_near(files: BundleFiles, fields: tuple[str, ...], clauses: int) -> NearClauses:
    if not clauses:
        return NO_CLAUSES
    return NearClauses(
        fields, files.array(layout.targeting_array("near_of"), np.int32, (clauses,)),
        files.array(layout.targeting_array("near_outside"), np.bool_, (clauses,)),
        files.array(layout.targeting_array("near_starts"), np.int64, (clauses + 1,)),
        files.array(layout.targeting_array("circles"), np.float64, (None, 3)))
