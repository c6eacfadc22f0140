"""One thread for torch: the tensors of these tests are tiny, and a second thread only waits for the first."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)
