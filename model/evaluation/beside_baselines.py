"""Quality of a run beside the baselines: each fitted on the run's train events and asked about the same users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from model.baselines.cache import FILE, Cache
from model.baselines.report import table_text
from model.baselines.table import baseline_table
from model.evaluation.two_towers import NAME, two_towers
from model.progress.lines import tell
from model.runs.run import Run

Choice = Literal["some", "all", "none"]


def beside_baselines(run: Run, found: Mapping[str, Any], users: int, choice: Choice = "some") -> dict[str, Any]:
    """Adds the table of baselines to the quality of a run, and prints it to standard error.

    Args:
        run: that was measured.
        found: by `quality` with the same users.
        users: test users to ask for recall, 0 = all.
        choice: `all` fits those too that are left out for the size of the catalogue, `none` leaves the quality as it
            is.

    Returns:
        The quality with `baselines`, see `baseline_table`; unchanged without test events.
    """
    dataset = run.dataset
    if choice == "none" or dataset.test is None or not len(dataset.test):
        return dict(found)
    cache = Cache(run.folder.path / FILE)
    table = baseline_table(dataset.train, dataset.test, dataset, users=users, seed=run.config.seed,
                           everything=choice == "all", cache=cache)
    if run.config.model.over_arch == "dot" and not run.config.stack:
        table[NAME] = {"skipped": "they are the run that is measured"}
    else:
        table[NAME] = two_towers(dataset, run.config, run.data, users, cache)
    tell(table_text(found, table))
    return {**found, "baselines": table}
