"""Whether bundle and change log fit: the number of the bundle against what the log has."""

from dataclasses import dataclass

import pytest

from service.live.included import DoesNotFitError, check_goes_on, check_includes


@dataclass
class Log:
    ends: int
    lost: int
    log_id: str = "here"

    def last(self):
        return self.ends

    def trimmed(self):
        return self.lost


@pytest.mark.parametrize(("log", "included"), [(None, 0), (Log(0, 0), 0), (Log(9, 0), 0), (Log(9, 0), 9),
                                               (Log(9, 5), 5), (Log(9, 9), 9)])
def test_bundle_fits_when_the_log_has_all_that_comes_next(log, included):
    for log_id in ("here", ""):
        check_includes(log, included, log_id)


@pytest.mark.parametrize(("log", "included", "said"), [
    (None, 3, "up to 3, but the change log ends with 0; the log was lost"),
    (Log(9, 0), 10, "up to 10, but the change log ends with 9; the log was lost"),
    (Log(9, 5), 4, "up to 4, and the change log was trimmed: its entries up to 5 were removed")])
def test_misfit_names_both_numbers(log, included, said):
    with pytest.raises(DoesNotFitError, match=said):
        check_includes(log, included, "here")


def test_bundle_of_another_log_is_refused_with_both_ids_whatever_the_numbers():
    for included in (0, 5, 50):
        with pytest.raises(DoesNotFitError, match="of change log there, but this is change log here; name the log of"):
            check_includes(Log(9, 0), included, "there")


def test_log_that_lacks_what_another_worker_has_applied_is_refused_with_both_numbers():
    check_goes_on(None, 0)
    check_goes_on(Log(9, 0), 9)
    for log, last in ((None, 0), (Log(9, 0), 9)):
        with pytest.raises(DoesNotFitError, match=f"has applied change 10, but the change log ends with {last}; it"):
            check_goes_on(log, 10)
