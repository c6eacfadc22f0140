"""What a flag's text becomes, and what is said where it cannot be read."""

import pytest

from model.config.errors import ConfigError
from model.config.flag import absolute, like


def test_a_text_that_cannot_be_read_is_told_with_one_that_can():
    numbers = like("8x3", lambda text: [int(part) for part in text.split("x")])
    assert numbers("4x2") == [4, 2]
    with pytest.raises(ConfigError, match="'4,2' is not like 8x3"):
        numbers("4,2")


def test_a_path_no_longer_depends_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("run") == str(tmp_path / "run")
