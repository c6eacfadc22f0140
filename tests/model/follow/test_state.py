"""The state of a follower: whole or not there, and refused where it is something else."""

import pytest

from model.config.errors import ConfigError
from model.follow.state import STATE, FollowerState

SOME = FollowerState(window=3, sequence=70, change_log_id="c0ffee", ended_at=5.5, run="/runs/a", log="/logs/a",
                     most_events=100)


def test_a_state_is_read_as_it_was_written_and_replaced_as_a_whole(tmp_path):
    assert FollowerState.read(tmp_path) is None
    SOME.write(tmp_path)
    assert FollowerState.read(tmp_path) == SOME
    (tmp_path / f"{STATE}.partial").write_text("{")  # left by a write that was killed
    assert FollowerState.read(tmp_path) == SOME
    SOME.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [STATE]


@pytest.mark.parametrize("content", ["", "{}", '{"window": 1}', "[1]"])
def test_another_file_is_refused_with_what_to_do(tmp_path, content):
    (tmp_path / STATE).write_text(content)
    with pytest.raises(ConfigError, match=r"state.json is not the state of a follower .*restore it"):
        FollowerState.read(tmp_path)
