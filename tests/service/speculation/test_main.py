"""`python -m service.speculation`: it fills Redis until a signal comes, and says what is wrong with its arguments."""

import os
import signal
import subprocess
import sys
import time

import pytest

from index_store.bundle.bundle import Bundle
from service.retrieval.speculated_pairs import PairKeys
from service.speculation.__main__ import main
from tests.paths import ROOT
from tests.speculated_bundles import write_foundation


def test_pairs_are_stored_until_a_signal_comes(speculated, foundation, own_redis):
    keys = PairKeys.of(Bundle.open(speculated).bundle_id)
    own_redis.client.zadd(keys.wanted, {b"user-01": 1.0})
    command = [sys.executable, "-m", "service.speculation", str(speculated), "--foundation", str(foundation),
               "--ttl", "50"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "REDIS_URL": own_redis.url},
                               stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 200
    while not own_redis.client.exists(keys.of_user(b"user-01")) and time.monotonic() < until:
        time.sleep(0.05)
    assert 0 < own_redis.client.ttl(keys.of_user(b"user-01")) <= 50
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert '"event":"speculating"' in said
    assert "user-01" not in said


def test_an_autoencoder_of_another_model_ends_it_with_both_hashes(speculated, tiny_bundle, own_redis, tmp_path,
                                                                   monkeypatch, capsys):
    write_foundation(tiny_bundle, tmp_path / "other", "beef")
    monkeypatch.setenv("REDIS_URL", own_redis.url)
    monkeypatch.setattr(os, "nice", lambda by: 0)
    assert main([str(speculated), "--foundation", str(tmp_path / "other")]) == 1
    said = capsys.readouterr().err
    assert "f0f0" in said
    assert "beef" in said


def test_it_needs_a_redis_and_positive_numbers(speculated, foundation, monkeypatch, capsys):
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setattr(os, "nice", lambda by: 0)
    assert main([str(speculated), "--foundation", str(foundation)]) == 2
    assert "REDIS_URL is not set; name the Redis of the service" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(speculated), "--foundation", str(foundation), "--ttl", "0"])
    assert "0 is not a number of at least 1" in capsys.readouterr().err
