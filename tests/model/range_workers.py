"""Workers that tell which work they were asked for, and do it as one process does."""

from model.progress.range_workers import RangeWorkers, unheard


class Recording(RangeWorkers):
    def __init__(self):
        self.asked = []

    def results(self, work, ranges, done=unheard):
        self.asked.append(type(work).__name__)
        return super().results(work, ranges, done)
