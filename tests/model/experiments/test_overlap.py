"""The table of overlaps from planted results."""

import pytest

from model.experiments.overlap import SHARES, report
from tests.model.experiments.tables import done, trained

KMEANS = "k-means on item embeddings"


def test_a_row_holds_the_overlap_at_each_share_and_a_dash_where_no_beam_is_as_cheap(tmp_path):
    made = report(done({"monn-em": [trained(0.9, ["em", KMEANS])],
                        "monn-posthoc": [trained(0.9, ["posthoc", KMEANS])]}))
    assert [(row["model"], row["tree"]) for row in made.data["rows"]] == [
        ("monn-em", "em"), ("monn-em", KMEANS), ("monn-posthoc", "posthoc")]  # the control's own tree is k-means
    found = made.data["rows"][0]["scorer"]
    assert found["1%"] is None
    assert [found[f"{share:.0%}"]["mean"] for share in SHARES[2:]] == pytest.approx([0.5, 0.9, 1.0])
    made.draw(tmp_path / "overlap.png")
    assert (tmp_path / "overlap.png").read_bytes().startswith(b"\x89PNG")
