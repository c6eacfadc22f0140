"""The page on data keeps its promises: the example works, and every message it lists is one that the code gives."""

import re
from pathlib import Path

import pytest

from model.data.load import load_dataset
from model.sources import parquet
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "data.md").read_text()


def block(language):
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[1]


def test_the_worked_example_can_be_brought_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("log").mkdir()
    exec(block("python"), {})
    Path("log/features.json").write_text(block("json"))
    parquet.write(Path("log"), Path("data"))
    data = load_dataset(Path("data"))
    assert data.user_ids.tolist() == [b"ann", b"bob", b"eve"]
    assert data.encoder.item_ids.tolist() == [b"101", b"102", b"103"]
    assert data.train.labels.sum(axis=0).tolist() == [2, 1]


def messages():
    table = PAGE.split("| message holds | because |")[1].split("\n\n")[0]
    return re.findall(r"`([^`]+)`", " ".join(line.split("|")[1] for line in table.splitlines()[2:]))


@pytest.mark.parametrize("message", messages())
def test_a_listed_message_is_in_the_code(message):
    sources = [*(ROOT / "model" / "data").glob("*.py"), *(ROOT / "model" / "sources").glob("*.py"),
               ROOT / "model" / "objective" / "distill.py",
               ROOT / "model" / "objective" / "event_labels.py",
               ROOT / "model" / "follow" / "labelling.py",
               ROOT / "index_store" / "features" / "encoder.py",
               ROOT / "index_store" / "declaration" / "spec.py",
               ROOT / "index_store" / "declaration" / "reading.py",
               ROOT / "index_store" / "declaration" / "context_fields.py",
               ROOT / "index_store" / "declaration" / "label_windows.py",
               ROOT / "index_store" / "targeting" / "predicates.py"]
    code = re.sub(r'"\s*\n\s*f?"', "", "".join(path.read_text() for path in sources))
    wanted = re.escape(message)
    for value, name in ((r"128", r"\{MAX_ID_BYTES\}"), (r"(users|ads)\\.parquet", r"\{owner\}")):
        wanted = re.sub(value, name.replace("\\", "\\\\"), wanted)
    assert re.search(wanted, code), message
