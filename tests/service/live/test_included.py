"""Whether bundle and change log fit: the number of the bundle against what the log has."""

from dataclasses import dataclass

import pytest

from service.live.included import DoesNotFitError, check_includes


@dataclass
class Log:
    ends: int
    lost: int

    def last(self):
        return self.ends

    def trimmed(self):
        return self.lost


@pytest.mark.parametrize(("log", "included"), [(None, 0), (Log(0, 0), 0), (Log(9, 0), 0), (Log(9, 0), 9),
                                               (Log(9, 5), 5), (Log(9, 9), 9)])
def test_bundle_fits_when_the_log_has_all_that_comes_next(log, included):
    check_includes(log, included)


@pytest.mark.parametrize(("log", "included", "said"), [
    (None, 3, "up to 3, but the change log ends with 0; the log was lost"),
    (Log(9, 0), 10, "up to 10, but the change log ends with 9; the log was lost"),
    (Log(9, 5), 4, "up to 4, and the change log was trimmed: its entries up to 5 were removed")])
def test_misfit_names_both_numbers(log, included, said):
    with pytest.raises(DoesNotFitError, match=said):
        check_includes(log, included)
