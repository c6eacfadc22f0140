"""The samplers of a worker."""

import asyncio
import threading

from service.sampling.samplers import Samplers
from service.settings import Settings


def test_threads_run_as_set_and_end_when_closed():
    before = set(threading.enumerate())
    samplers = Samplers(Settings(quality_sample_rate=0.5, calibration_sample_rate=0, shadow_share=0.1))
    started = set(threading.enumerate()) - before
    assert {thread.name for thread in started} == {"quality", "shadow"}
    assert samplers.shadow._pauses.share == 0.1
    asyncio.run(samplers.close())
    assert not any(thread.is_alive() for thread in started)
