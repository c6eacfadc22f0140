"""Tables 3, 6 and 7 from planted results."""

import pytest

from model.experiments import public, table3
from tests.model.experiments.tables import done


def result(recalls):
    return {"dataset": "planted", "users": 10, "without_train": 1, "node_pairs": {public.TUNED: [3, 4]},
            "rows": {name: {"recall": recall, "ndcg": recall / 2, "pairs": 80.0} for name, recall in recalls.items()}}


def test_rows_are_compared_with_the_backbone_and_missing_ones_left_out(tmp_path):
    cells = done({"public-controls": [result({public.BACKBONE: 0.20, public.TUNED: 0.21}),
                                      result({public.BACKBONE: 0.22, public.TUNED: 0.25})]})
    made = table3.TABLE3.report(cells)
    assert "| + test-time training | 0.2300 ± 0.0283 | 0.1150 ± 0.0141 | +0.0200 ± 0.0141 | 80 ± 0 | 7 ± 0 |" in (
        made.markdown)
    assert public.SERVED not in made.markdown
    assert [row["recall@20"] for row in made.data["rows"]] == pytest.approx([0.20, 0.22, 0.21, 0.25])
    made.draw(tmp_path / "table3.png")
    assert (tmp_path / "table3.png").read_bytes().startswith(b"\x89PNG")
