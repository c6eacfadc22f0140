"""A network that cannot be is refused, and a stack is read from its text."""

import pytest

from model.config.errors import ConfigError
from model.config.monn import SIZES, MoNNConfig, StackedLayer, read_stack


@pytest.mark.parametrize("share", [-0.2, 1.0, 1.5])
def test_a_dropout_that_is_no_share_is_refused(share):
    with pytest.raises(ConfigError, match=rf"dropout is {share}; give a share in \[0, 1\)"):
        MoNNConfig(dropout=share)


def test_a_stack_is_read_from_sizes_and_levels():
    assert read_stack("large@1,medium@2") == (StackedLayer(1, SIZES["large"]), StackedLayer(2, SIZES["medium"]))
