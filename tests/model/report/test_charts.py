"""Charts: SVG that an XML parser takes, with every figure's name in it, and gaps where a figure is undefined."""

from xml.etree import ElementTree

from model.report.charts import curves, recall_of_slices, span

EPOCHS = [{"epoch": 1, "batch": 9, "loss_items": 0.5, "seconds": 3.0, "ne_click": None},
          {"epoch": 2, "batch": 9, "loss_items": 0.4, "loss_nodes": 0.6, "seconds": 3.0, "ne_click": 0.9,
           "held_out_recall@20": 0.1}]
PART = {"from": 0, "to": 0, "recall@20": 0.25, "recall@100": 0.5}


def words(svg):
    return {element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}


def test_curves_show_each_part_of_the_loss_and_what_is_held_out():
    named = {"loss", "items", "nodes", "NE", "ne_click", "held-out recall", "held_out_recall@20"}
    assert named <= words(curves(EPOCHS))


def test_the_same_epochs_give_the_same_text():
    assert curves(EPOCHS) == curves(EPOCHS)


def test_no_figures_give_no_chart():
    assert curves([]) == ""


def test_slices_are_named_by_their_bounds():
    drawn = recall_of_slices({"history": [{**PART, "users": 12, "se_recall@20": 0.1, "se_recall@100": None}],
                              "popularity": [{**PART, "from": 100, "to": None, "pairs": 1234}]})
    assert {"0", "12 users", "100 or more", "1,234 pairs", "Recall@20", "Recall@100"} <= words(drawn)


def test_bounds_in_words():
    assert [span({"from": 0, "to": 0}), span({"from": 1, "to": 4}), span({"from": 100, "to": None})] == \
        ["0", "1 to 4", "100 or more"]
