"""locust users of POST /retrieve: a few known users ask often, most seldom; some are unknown, some bring features.

    locust -f loadtest/locustfile.py --bundle BUNDLE --host http://127.0.0.1:8080 --headless -u 50 -r 50 -t 30s

A locust user asks once a second, so `-u` is the rate in requests a second as long as the service keeps up. The run
fails (exit status 1) if an answer is not a 200, or knows less of the user than it should.

Rows of type POST are what a client waits for; rows of type `stage` are `latency_ms` of the replies. `Aggregated` counts
both and means nothing. locust rounds percentiles to milliseconds, not averages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from locust import FastHttpUser, constant_throughput, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from index_store.bundle import BundleError
from index_store.features import FieldSpec
from index_store.store import Bundle

TOP_K = 100
ZIPF_EXPONENT = 1.0
HISTORY = 10
STAGES = ("total", "queue", "features", "cache", "user_tower", "search")


class Population:
    """Draws users, the same ones in every run.

    Args:
        bundle: the one that is served; its users and ads are real.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._random = np.random.default_rng(0)
        self._user_ids, self._encoder = bundle.content.users.ids, bundle.content.encoder
        self._ranked = self._random.permutation(len(self._user_ids))  # ids are sorted, popularity must not be
        self._cumulative = np.cumsum(1 / np.arange(1, len(self._user_ids) + 1) ** ZIPF_EXPONENT)

    def known(self) -> dict[str, Any]:
        """A user of the bundle: the one of rank r with a probability in proportion to 1 / r."""
        rank = np.searchsorted(self._cumulative, self._random.random() * self._cumulative[-1], side="right")
        return {"user_id": self._user_ids[self._ranked[rank]].decode()}

    def unknown(self) -> dict[str, Any]:
        """Somebody new."""
        return {"user_id": f"new-{self._random.integers(1 << 62)}"}

    def inline(self) -> dict[str, Any]:
        """Somebody new whose features and history come with the request."""
        features = {field.name: self._value(field) for field in self._encoder.spec.user_fields}
        rows = self._random.integers(len(self._encoder.item_ids), size=HISTORY)
        history = [ad_id.decode() for ad_id in self._encoder.item_ids[rows]]
        return {**self.unknown(), "user_features": {**features, "history": history}}

    def _value(self, field: FieldSpec) -> Any:
        name = f"user.{field.name}"
        if field.kind == "dense":
            return float(self._random.normal(*self._encoder.scales[name]))
        vocabulary = self._encoder.vocabularies[name]
        drawn = [value.decode() for value in self._random.choice(vocabulary, 3)] if len(vocabulary) else []
        return drawn if field.kind == "multi" else next(iter(drawn), None)


class Shopper(FastHttpUser):
    """One client; of 20 requests 17 are of known users, 2 of unknown ones and 1 brings features."""

    wait_time = constant_throughput(1)
    population: Population

    @task(17)
    def known(self) -> None:
        self._retrieve("known", self.population.known())

    @task(2)
    def unknown(self) -> None:
        self._retrieve("unknown", self.population.unknown())

    @task(1)
    def inline(self) -> None:
        self._retrieve("inline", self.population.inline())

    def _retrieve(self, kind: str, body: dict[str, Any]) -> None:
        with self.client.post("/retrieve", json={**body, "top_k": TOP_K}, name=f"/retrieve {kind}",
                              catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}, not 200: {response.text}")
                return
            reply = response.json()
            if reply["user"] != kind:
                response.failure(f"the user is {reply['user']} to the service, not {kind}: is it the same bundle?")
        for stage in STAGES:
            self._stage(stage, reply["latency_ms"][stage])
        for level in reply["latency_ms"]["levels"]:
            self._stage(f"search, level {level['level']}", level["ms"])

    def _stage(self, name: str, milliseconds: float) -> None:
        self.environment.events.request.fire(request_type="stage", name=name, response_time=milliseconds,
                                             response_length=0, exception=None, context={})


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument("--bundle", env_var="LOCUST_BUNDLE", type=Path, required=True,
                        help="the bundle that is served; users and ads are drawn from it")


@events.init.add_listener  # type: ignore[untyped-decorator]
def open_bundle(environment: Environment, **_: Any) -> None:
    """Draws from the bundle; ends locust if it cannot be opened."""
    options = environment.parsed_options
    if options is None:
        return
    try:
        Shopper.population = Population(Bundle.open(options.bundle, verify=False))
    except BundleError as error:
        raise SystemExit(f"error: {error}") from error
