"""Settings of the joint index that cannot work are refused with their value."""

import pytest

from model.config.errors import ConfigError
from model.config.hill import HillConfig


@pytest.mark.parametrize(("change", "said"), [
    ({"sharpness": (0.0, 10.0)}, r"sharpness is \(0.0, 10.0\); it must rise from a number above 0"),
    ({"sharpness": (5.0, 1.0)}, r"sharpness is \(5.0, 1.0\)"),
    ({"pooled_batches": 0}, "pooled_batches is 0; at least 1 is needed")])
def test_what_cannot_work_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        HillConfig(**change)
