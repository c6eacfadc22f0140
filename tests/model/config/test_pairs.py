"""Beams are asked for where interests are taken from them, and nowhere else."""

import pytest

from model.config.errors import ConfigError
from model.config.pairs import PairsConfig


@pytest.mark.parametrize(("interest", "beams"), [("beam", ()), ("union", ()), ("history", ("/beams",))])
def test_files_of_beams_belong_to_interests_in_them(interest, beams):
    with pytest.raises(ConfigError, match=f"the interest is {interest} and {len(beams)} files of beams are given"):
        PairsConfig((0.8,), interest, beams)
