"""A Ray that cannot be used ends the command with a line that says which one and why."""

import re

import pytest

from service.cluster.__main__ import main
from service.cluster.ray_cluster import RayError, first_line, run_application
from service.cluster.serve_app import ClusterArgs
from tests.commands import run

ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")


@pytest.mark.parametrize(("address", "reason"), [("127.0.0.1:1", "Connection refused"),
                                                 ("nowhere", "is not HOST:PORT")])
def test_a_ray_that_is_not_there_is_told(roots, address, reason):
    done = run(main, "up", roots / "two", "--address", address)
    assert done.returncode == 1
    assert re.fullmatch(rf"error: Ray at {address} cannot be reached \(.*{reason}\); start it with `ray start --head`, "
                        "or leave --address out for one on this machine", done.stderr.splitlines()[-1])


def test_a_ray_of_another_version_is_told_with_both(roots, monkeypatch):
    def init(**_):
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.9\n"
                           "This process was started with:\n    Ray: 2.60.0")

    monkeypatch.setattr(ray, "init", init)  # there is only one version here
    with pytest.raises(RayError, match=r"Ray at auto cannot be used \(Version mismatch: The cluster was started with: "
                                       r"Ray: 2\.9\.0 Python: 3\.9 This process was started with: Ray: 2\.60\.0\); "
                                       "install the version of the cluster"):
        run_application(ClusterArgs(bundles=str(roots / "two")), "auto")


def test_a_ray_that_gets_no_processor_time_is_told(roots, monkeypatch):
    def init(**_):
        raise Exception("The current node timed out during startup. This\n  could happen")  # as Ray does

    monkeypatch.setattr(ray, "init", init)  # it does so on a starved machine alone
    with pytest.raises(RayError, match=r"Ray has not come up on this machine \(The current node timed out during "
                                       r"startup. This could happen\); .* try again when the machine is less busy"):
        run_application(ClusterArgs(bundles=str(roots / "two")), None)


def test_what_cannot_be_served_is_refused_before_ray_is_asked(tiny_bundle):
    done = run(main, "up", tiny_bundle, "--address", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is missing, so this bundle is not sharded" in done.stderr


def test_messages_of_several_lines_become_one():
    assert first_line(RuntimeError("a\n  b")) == "a b"
