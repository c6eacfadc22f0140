"""Predicates of ads in a bundle: read back to the bit, absent where no ad has one, refused where they do not fit."""


import numpy as np
import pytest

from index_store.bundle.bundle import Bundle, write_content
from index_store.bundle.manifest import BundleError
from tests.index_store.bundle.damage import same
from tests.paths import BUNDLES
from tests.resealed import reseal
from tests.targeted_bundle import PREDICATES, write_targeted_bundle

FIRST_BUNDLE = BUNDLES / "v1"


@pytest.fixture(scope="module")
def targeted(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("targeted") / "bundle"
    write_targeted_bundle(tiny_bundle, folder)
    return folder


def test_predicates_are_the_same_to_the_bit_when_read_back(targeted, tmp_path):
    opened = Bundle.open(targeted)
    again = reseal(targeted, tmp_path / "again", lambda writer: write_content(writer, opened.content))
    assert again.bundle_id == opened.bundle_id
    assert same(Bundle.open(tmp_path / "again").content.targeting, opened.content.targeting)
    assert len(opened.content.targeting.program.roots) == 1 + len(PREDICATES)


def test_there_are_no_files_of_predicates_when_no_ad_has_one(tiny_bundle):
    for folder in (tiny_bundle, FIRST_BUNDLE):
        opened = Bundle.open(folder)
        assert opened.content.targeting is None
        assert not [name for name in opened.manifest.files if "targeting" in name]


COUNTS = {"predicates": 3, "range_fields": ["age", "hour"], "ranges": 2, "set_fields": ["country"], "sets": 1,
          "gates": 2, "level_ends": [2]}


@pytest.mark.parametrize(("change", "file", "says"), [
    (lambda w: w.array("targeting/of_position.npy", np.full(300, 4, np.int32)), "targeting/of_position.npy",
     "numbers from 4 to 4, there are 3 predicates"),
    (lambda w: w.array("targeting/of_position.npy", np.full(300, -1, np.int32)), "targeting/of_position.npy", "-1"),
    (lambda w: w.array("targeting/of_position.npy", np.zeros(299, np.int32)), "targeting/of_position.npy", "(299,)"),
    (lambda w: w.array("targeting/of_position.npy", np.zeros(300, np.int64)), "targeting/of_position.npy", "int64"),
    (lambda w: w.array("targeting/roots.npy", np.array([0, 1, 2, 10_000], np.int32)), "targeting", "roots: holds"),
    (lambda w: w.array("targeting/text.npy", np.zeros(3, np.uint8)), "targeting/text_ends.npy", "the 3 bytes of text"),
    (lambda w: w.array("targeting/text_ends.npy", np.zeros(4, np.int64)), "targeting/text_ends.npy", "does not rise"),
    (lambda w: w.array("targeting/gates.values.npy", np.full(6, 99, np.int32)), "targeting", "gates"),
    (lambda w: w.array("targeting/lower.npy", np.zeros(7, np.float32)), "targeting/lower.npy", "(7,)"),
    (lambda w: w.path("targeting/upper.npy").unlink(), "targeting/upper.npy", "is not listed"),
    (lambda w: w.path("targeting/values.country.npy").unlink(), "targeting/values.country.npy", "is not listed"),
    (lambda w: w.array("targeting/values.country.npy", np.array([b"z", b"a", b"b"])), "targeting", "not sorted"),
    (lambda w: w.array("targeting/circles.npy", np.full((2, 3), np.nan)), "targeting", "near: have a circle that lies"),
    (lambda w: w.array("targeting/near_of.npy", np.ones(1, np.int32)), "targeting", "near: read fields 1 to 1"),
    (lambda w: w.array("targeting/near_starts.npy", np.zeros(2, np.int64)), "targeting", "near: do not have one or"),
    (lambda w: w.path("targeting/near_outside.npy").unlink(), "targeting/near_outside.npy", "is not listed"),
    (lambda w: w.json("targeting/counts.json", COUNTS | {"near_fields": ["hour"]}), "targeting/counts.json", "hour"),
    (lambda w: w.json("targeting/counts.json", []), "targeting/counts.json", "does not hold the counts of predicates"),
    (lambda w: w.json("targeting/counts.json", COUNTS | {"predicates": "3"}), "targeting/counts.json", "TypeError"),
    (lambda w: w.json("targeting/counts.json", COUNTS | {"level_ends": 7}), "targeting/counts.json", "TypeError"),
    (lambda w: w.json("targeting/counts.json", COUNTS | {"set_fields": ["../x"]}), "targeting/counts.json", "'../x'"),
    (lambda w: w.json("targeting/counts.json", COUNTS | {"set_fields": ["age"]}), "targeting/counts.json", "'age'"),
    (lambda w: w.json("targeting/counts.json", COUNTS | {"range_fields": ["slots"]}), "targeting/counts.json", "slots"),
])
def test_bundle_is_refused_when_its_predicates_do_not_fit(targeted, tmp_path, change, file, says):
    reseal(targeted, tmp_path / "sealed", change)
    with pytest.raises(BundleError) as caught:
        Bundle.open(tmp_path / "sealed")
    assert caught.value.file == file
    assert says in caught.value.reason
