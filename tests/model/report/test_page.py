"""The page of a run: what its folder and its quality hold is on it, and nothing from elsewhere."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from model.evaluation.beside_baselines import beside_baselines
from model.evaluation.quality import quality
from model.report.page import FILE, write_page
from model.runs.checkpoint import RunFolder
from model.runs.run import Run


class Checked(HTMLParser):
    """Fails at a tag that closes another than the last one opened; gathers text and addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.addresses = [], [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in {"src", "href", "xlink:href"}]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    parser = Checked()
    parser.feed(page.read_text())
    parser.close()
    assert not parser.open
    return re.sub(r"\s+", " ", "".join(parser.text)), parser.addresses


@pytest.fixture
def run(tiny_run, tmp_path):
    """A run in a folder of its own, to write into."""
    shutil.copytree(tiny_run.folder.path, tmp_path / "run")
    copy = Run(RunFolder(tmp_path / "run"), tiny_run.dataset, tiny_run.config)
    copy.load()
    return copy


def test_a_run_without_quality_has_curves_tree_and_settings(run):
    page = write_page(run)
    assert page == run.folder.path / FILE
    text, _ = read(page)
    assert all(word in text for word in ("Epochs", "items", "nodes", "usage entropy", '"batch_users": 16'))
    assert f"python -m model evaluate --run {run.folder.path}" in text


def test_quality_baselines_and_slices_are_shown_without_a_link_to_elsewhere(run):
    found = beside_baselines(run, quality(run, 0), 0)
    text, addresses = read(write_page(run, found))
    for method in ("this run", *found["baselines"]):
        assert method in text
    assert f"{found['recall@20']:.4f}" in text
    assert all(word in text for word in ("For whom", "train positives of the user", "asked about the same test users"))
    assert all(address.startswith(("data:", "#")) for address in addresses)


def test_chosen_settings_come_with_their_reasons_and_names_cannot_break_the_page(run):
    chosen = {"epochs": {"value": 4, "why": "4 instead of 2 gains <b>+0.01</b>"}}
    skipped = {"EASE": {"skipped": "no time & no room"}}
    trials = [{"settings": {"epochs": 4}, "measure": 0.25, "standard_error": 0.01, "seconds": 3.0,
               "epochs": [{"held_out_recall@20": 0.1}, {"held_out_recall@20": 0.2}]},
              {"settings": {"epochs": 8}, "skipped": "no time is left"}]
    (run.folder.path / "choice.json").write_text(json.dumps({
        "chosen": chosen, "baselines": skipped, "trials": trials, "measure": {"name": "recall", "better": "higher"}}))
    text, _ = read(write_page(run))
    assert "4 instead of 2 gains <b>+0.01</b>" in text
    assert "skipped: no time & no room" in text
    assert "On the hold-out" in text
    assert all(word in text for word in ("0.2500 ± 0.0100", "skipped: no time is left", "held_out_recall@20"))
