"""The command line `python -m service.cluster`."""

import socket

import pytest

from service.cluster.__main__ import main
from tests.commands import run


def test_a_folder_that_is_none_or_an_address_that_is_taken_ends_with_an_error(tmp_path, roots):
    done = run(main, "shard", tmp_path / "none", "--number", 0, "--port", 0)
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path / 'none'} is not a folder; name the folder of "
                                                 "roots\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(main, "shard", roots, "--number", 0, "--port", taken.getsockname()[1])
    assert done.returncode == 1
    assert "address already in use" in done.stderr


@pytest.mark.parametrize("words", [[], ["shard"], ["shard", "x", "--number", "a", "--port", "0"]])
def test_a_usage_error_says_what_is_missing(words):
    done = run(main, *words)
    assert done.returncode == 2
    assert "error:" in done.stderr


def test_settings_that_cannot_be_used_are_told(roots):
    done = run(main, "shard", roots, "--number", 0, "--port", 70000)
    assert done.returncode == 2
    assert "RETRIEVAL_PORT 70000 cannot be used" in done.stderr


@pytest.mark.parametrize(("words", "said"), [
    (("--replicas", "4-1"), "error: --replicas: replicas '4-1' end at 1, before they begin at 4; write 1-4\n"),
    (("--replicas", "few", "--shard-cpus", "0"), "error: --replicas: replicas 'few' are neither a number nor a range; "
                                                 "write 2, or 1-4\nerror: --shard-cpus: Input should be greater than "
                                                 "0\n")])
def test_arguments_that_make_no_sense_are_told_by_their_option(roots, words, said):
    done = run(main, "up", roots / "two", *words)
    assert (done.returncode, done.stderr) == (2, said)
