"""Time and memory of opening a bundle; `grown` has measured its own by the command."""

import json

from loadtest.__main__ import main
from loadtest.growth.opening import in_words


def test_figures_of_an_opened_bundle_are_plausible(grown):
    found = json.loads((grown / "300_ads/opening.json").read_text())
    assert 0 < found["interpreter_bytes"] < found["private_bytes"]
    assert 0 < found["open_seconds"] < found["verify_seconds"] + 5
    assert found["private_share"] == found["private_bytes"] / found["bundle_bytes"]


def test_sentence_gives_the_figures_in_mebibytes():
    mib = 2**20
    assert in_words({"bundle_bytes": 100 * mib, "private_bytes": 30 * mib, "interpreter_bytes": 20 * mib,
                     "private_share": 0.3, "verify_seconds": 1.5, "open_seconds": 0.25}) == (
        "A bundle of 100 MiB opens in 1.50 s with all checksums, in 0.25 s without; a further worker has 30 MiB of "
        "private memory after its warm-up, 30.0% of the bundle, of which 20 MiB before it opened the bundle.")


def test_opening_says_why_when_there_is_no_bundle(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["loadtest", "opening", "--bundle", str(tmp_path / "nowhere")])
    assert main() == 1
    assert "is not a folder" in capsys.readouterr().err
