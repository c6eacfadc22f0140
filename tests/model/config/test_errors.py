"""A setting that cannot work ends a command with one line."""

from tests.model.commands import model


def test_a_command_says_in_one_line_what_cannot_work(tmp_path):
    said = model("train", "--data", tmp_path, "--out", tmp_path / "run", "--rounds", 0, "--epochs", 0, code=1)
    assert "epochs and rounds are both 0" in said
    assert "Traceback" not in said
