"""Tables 3, 6 and 7 from planted results."""

import pytest

from model.experiments import public, table3
from tests.model.experiments.tables import done


def result(recalls):
    rows = {name: {"recall": recall, "ndcg": recall / 2, "pairs": 80} for name, recall in recalls.items()}
    rows[public.SERVED]["overlap@100"] = 0.9
    return {"dataset": "planted", "users": 10, "without_train": 1, "rows": rows,
            "node_pairs": {public.TUNED: {"level 2": 3, "level 1": 4}}}


def test_rows_are_compared_with_monn_and_missing_ones_left_out(tmp_path):
    cells = done({"public-controls": [
        result({public.MONN: 0.20, public.TUNED: 0.21, public.SERVED: 0.19}),
        result({public.MONN: 0.22, public.TUNED: 0.25, public.SERVED: 0.21})]})
    made = table3.TABLE3.report(cells)
    assert "| + test-time training | 0.2300 ± 0.0283 | 0.1150 ± 0.0141 | +0.0200 ± 0.0141 | 80 ± 0 |  | 7 ± 0 |" in (
        made.markdown)
    assert "| -0.0100 ± 0.0000 | 80 ± 0 | 0.900 ± 0.000 |" in made.markdown
    assert public.GFCF not in made.markdown
    assert [row["recall@20"] for row in made.data["rows"]] == pytest.approx([0.20, 0.22, 0.19, 0.21, 0.21, 0.25])
    made.draw(tmp_path / "table3.png")
    assert (tmp_path / "table3.png").read_bytes().startswith(b"\x89PNG")
