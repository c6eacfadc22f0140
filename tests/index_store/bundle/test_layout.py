"""Names of files: those of a bundle that was written, and no others."""

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle


def test_every_file_of_a_bundle_is_named_by_the_layout(tiny_bundle):
    opened = Bundle.open(tiny_bundle)
    names = {layout.FEATURES, layout.EVALUATION, layout.GOLDEN, layout.USER_TOWER, layout.ITEM_TOWER, layout.scorer(1),
             layout.BID_MICROS, layout.BID_TYPES, layout.CALIBRATION, layout.RECORDS,
             layout.USER_IDS, layout.ITEM_IDS, layout.TREE_ROWS, layout.REACH_WEIGHTS}
    names |= {layout.table(name) for name in opened.content.tables}
    names |= {layout.vocabulary(name) for name in opened.content.encoder.vocabularies}
    names |= {layout.SIMILAR_WEIGHTS, layout.SIMILAR_LENGTHS}
    lists = [layout.SIMILAR_ITEMS, layout.SIMILAR_CLICKERS, layout.USER_HISTORY, layout.REACH,
             layout.ITEM_KEYS, layout.level_postings(1), layout.level_postings(2),
             f"{layout.USER_FEATURES}.multi_0", f"{layout.ITEM_FEATURES}.multi_0"]
    names |= {f"{name}.{part}.npy" for name in lists for part in ("indptr", "values")}
    names |= {f"{prefix}.{part}.npy" for prefix in (layout.USER_FEATURES, layout.ITEM_FEATURES)
              for part in ("dense", "categorical")}
    names |= {layout.level_array(kind, level) for kind, levels in (("offsets", (1, 2)), ("representatives", (1, 2)),
                                                                   ("embeddings", (1, 2, 3))) for level in levels}
    names |= {layout.SPECTRAL_WEIGHTS, layout.SPECTRAL_STRENGTHS}
    kinds = ("values", "steps", "tail", "tail_steps", "popularity")
    names |= {layout.spectral(kind, level) for kind in kinds for level in (1, 2, 3)}
    assert set(opened.manifest.files) == names


def test_files_of_targeting_lie_in_a_folder_of_their_own():
    assert layout.targeting_array("values.country") == "targeting/values.country.npy"
    assert layout.targeting_lists("country") == "targeting/clauses.country"
