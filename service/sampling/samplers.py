"""The samplers of one worker, which look at what it answers in the background."""

from __future__ import annotations

import asyncio

from service.sampling.beam_recorder import BeamRecorder
from service.sampling.calibration_meter import CalibrationMeter
from service.sampling.quality_meter import QualityMeter
from service.sampling.shadow_meter import ShadowMeter
from service.settings import Settings


class Samplers:
    """All of them, from the application's start to its end.

    Args:
        settings: with their rates.
    """

    def __init__(self, settings: Settings) -> None:
        self.quality = QualityMeter(settings.quality_sample_rate)
        self.calibration = CalibrationMeter(settings.calibration_sample_rate)
        self.beams = BeamRecorder(settings.beam_sample_rate, settings.beam_folder)
        self.shadow = ShadowMeter(settings.shadow_share)

    async def close(self) -> None:
        """Ends their threads."""
        await asyncio.gather(*(asyncio.to_thread(sampler.close)
                               for sampler in (self.quality, self.calibration, self.beams, self.shadow)))
