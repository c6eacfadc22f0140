"""Guesses: each says what, for what and why, on one line of a page."""

import pyarrow as pa

from model.data.proposed import from_frames
from tests.model.infer.tables import wide


def test_every_guess_has_a_reason_that_fits_a_line():
    guesses = from_frames(pa.table(wide())).guesses
    assert len({guess.about for guess in guesses}) == len(guesses)
    assert all(guess.about and guess.value and guess.why and "\n" not in guess.why for guess in guesses)
