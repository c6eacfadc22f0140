"""`python -m service`: usage, and what `--check` finds."""

import pytest

from tests.resealed import reseal
from tests.service.commands import service
from tests.service.faulty_golden import other_answer, other_scorer, refused_request
from tests.service.service_process import command_line


def test_usage_is_shown_when_no_bundle_is_named():
    done = service()
    assert done.returncode == 2
    assert "name a BUNDLE" in done.stderr
    assert "--check" in service("--help").stdout


def test_check_succeeds_when_the_bundle_answers_as_sealed(tiny_bundle):
    done = command_line(tiny_bundle, "--check")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok"] * 8


@pytest.mark.parametrize(("change", "said"), [(other_scorer, "WRONG golden request 1"),
                                              (other_answer, "WRONG golden request 2: returns ad"),
                                              (refused_request, "diversity")])
def test_check_fails_when_a_golden_answer_differs(tiny_bundle, tmp_path, change, said):
    reseal(tiny_bundle, tmp_path / "sealed", change)
    done = service(tmp_path / "sealed", "--check")
    assert done.returncode == 1
    assert said in done.stdout
