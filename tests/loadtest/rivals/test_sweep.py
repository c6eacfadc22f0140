"""The sweep of a bench."""

from collections import Counter
from dataclasses import replace

from loadtest.rivals.sweep import Sweep
from tests.loadtest.small_bench import ADS, LITTLE


def test_sweep_has_every_kind_and_the_exhaustive_search_first(opened, towers, student):
    kinds = [search.kind for search in LITTLE.searches(opened, towers, student)]
    assert kinds[0] == "exhaustive"
    assert set(kinds) == {"exhaustive", "beam", "hnsw", "ivf", "graph", "distilled", "usearch", "voyager", "scann"}
    assert set(kinds) - {search.kind for search in LITTLE.searches(opened, None, student)} == {"hnsw", "ivf"}
    assert {search.kind for search in LITTLE.searches(opened, None, None)} == {"exhaustive", "beam", "graph"}
    alone = replace(LITTLE, walk_ms=())
    assert {search.kind for search in alone.searches(opened, None, None)} == {"exhaustive", "beam"}


def test_settings_above_the_number_of_ads_are_reduced_to_it_once(opened, towers):
    sweep = Sweep(beam_shares=(), ms=(4,), efs=(10, 1_000, 2_000), kept_shares=(1.0,), probe_shares=(5.0, 9.0),
                  candidates=(400, 500), walk_ms=(4,), walk_efs=(7,), walk_shares=(0.01,))
    searches = sweep.searches(opened, towers, None)
    assert [search.ef_search for search in searches if search.kind == "hnsw"] == [10, ADS]
    [ivf] = [search for search in searches if search.kind == "ivf"]
    assert (ivf.nprobe, ivf.candidates) == (ivf.nlist, ADS)
    [walk] = [search for search in searches if search.kind == "graph"]
    assert (walk.ef, walk.batch) == (7, 1)
    assert Counter(search.kind for search in searches)["exhaustive"] == 1
