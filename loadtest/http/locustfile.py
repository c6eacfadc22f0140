"""locust users that send POST /retrieve for known, new and targeted users.

    locust -f loadtest/http/locustfile.py --bundle BUNDLE --host http://127.0.0.1:8080 --headless -u 50 -r 50 -t 30s
    locust -f loadtest/http/locustfile.py --bundle BUNDLE --host http://127.0.0.1:8080 --headless -u 900 --processes 4
    make load BUNDLE=… HOST=… RATE=50 DURATION=1m P99_MS=100 ERROR_SHARE=0.001     also writes an HTML report

BUNDLE is the bundle that is served, or the folder of bundles; users and ads are drawn from it, users by Zipf's law. A
locust user waits a second on average before each request (Poisson), so `-u` is the rate in requests per second as long
as the service keeps up. The token in RETRIEVAL_READ_TOKEN is sent, if any. The run fails (exit status 1) if more
requests fail than `--error-share` allows, or if their p99 is above `--p99-ms`. A request fails if its answer is not a
200, or if the service knows less about the user than it should. With `--processes` or `--master` the master alone
judges the run; each worker draws users of its own.

Rows of type POST are what a client waits for; rows of type `stage` are the `latency_ms` of the replies. `Aggregated`
counts both and is meaningless. locust rounds percentiles to milliseconds, and to tens above 100 ms; averages are exact.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from locust import FastHttpUser, events, poisson, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner
from locust.stats import calculate_response_time_percentile

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import PointerError, served_bundle
from index_store.declaration.spec import FieldSpec
from loadtest.http.tokens import READ, bearer, token_of

TOP_K = 100
ZIPF_EXPONENT = 1.0
HISTORY = 10
STAGES = ("total", "queue", "features", "cache", "user_tower", "search", "scorer")
GIVE_UP_SECONDS = 10.0
"""How long a user waits for an answer."""


class Population:
    """Draws users, the same ones in every run.

    Args:
        bundle: the one that is served; its users and ads are real.
        worker: index of the locust worker; each draws a sequence of its own over the same popularity.
    """

    def __init__(self, bundle: Bundle, worker: int = 0) -> None:
        self._user_ids, self._encoder = bundle.content.users.ids, bundle.content.encoder
        # Ids are sorted; popularity must not be.
        self._ranked = np.random.default_rng(0).permutation(len(self._user_ids))
        self._random = np.random.default_rng([0, worker])
        self._cumulative = np.cumsum(1 / np.arange(1, len(self._user_ids) + 1) ** ZIPF_EXPONENT)

    def known(self) -> dict[str, Any]:
        """A user of the bundle; rank r is drawn with a probability proportional to 1 / r."""
        rank = np.searchsorted(self._cumulative, self._random.random() * self._cumulative[-1], side="right")
        return {"user_id": self._user_ids[self._ranked[rank]].decode()}

    def unknown(self) -> dict[str, Any]:
        """A user that the bundle does not know."""
        return {"user_id": f"new-{self._random.integers(1 << 62)}"}

    def inline(self) -> dict[str, Any]:
        """An unknown user whose features and history come with the request."""
        features = {field.name: self._value(field) for field in self._encoder.spec.user_fields}
        rows = self._random.integers(len(self._encoder.item_ids), size=HISTORY)
        history = [ad_id.decode() for ad_id in self._encoder.item_ids[rows]]
        return {**self.unknown(), "user_features": {**features, "history": history}}

    def targeted(self) -> dict[str, Any]:
        """A known user, with ads restricted to some values of one field, or to a minimum if it is dense."""
        fields = self._encoder.spec.item_fields
        if not fields:
            return self.known()
        field = fields[self._random.integers(len(fields))]
        name = f"item.{field.name}"
        asked = {"at_least": self._number(name)} if field.kind == "dense" else {"in": self._words(name)}
        return {**self.known(), "targeting": {"field": field.name, **asked}}

    def _value(self, field: FieldSpec) -> Any:
        name = f"user.{field.name}"
        if field.kind == "dense":
            return self._number(name)
        drawn = self._words(name)
        return drawn if field.kind == "multi" else next(iter(drawn), None)

    def _number(self, name: str) -> float:
        return float(self._random.normal(*self._encoder.scales[name]))

    def _words(self, name: str) -> list[str]:
        vocabulary = self._encoder.vocabularies[name]
        return [value.decode() for value in self._random.choice(vocabulary, 3)] if len(vocabulary) else []


class Shopper(FastHttpUser):
    """One client.

    Of every 20 requests 17 are for known users, 2 of them targeted and 1 with a deadline; 2 are for unknown users, and
    1 brings features and a history.
    """

    wait_time = poisson(1)
    network_timeout = GIVE_UP_SECONDS
    bundle: Bundle
    population: Population
    timeout_ms: float
    headers = bearer(token_of(READ))

    def on_start(self) -> None:
        self.wait()  # type: ignore[no-untyped-call]  # locust starts all users at once; real traffic does not

    @task(14)
    def known(self) -> None:
        self._retrieve("known", self.population.known())

    @task(2)
    def targeted(self) -> None:
        self._retrieve("known", self.population.targeted(), "targeted")

    @task(1)
    def hurried(self) -> None:
        self._retrieve("known", {**self.population.known(), "timeout_ms": self.timeout_ms}, "hurried")

    @task(2)
    def unknown(self) -> None:
        self._retrieve("unknown", self.population.unknown())

    @task(1)
    def inline(self) -> None:
        self._retrieve("inline", self.population.inline())

    def _retrieve(self, user: str, body: dict[str, Any], name: str = "") -> None:
        """Sends one request; records it under the name, or the kind of user, and a row for each stage of the reply."""
        with self.client.post("/retrieve", json={**body, "top_k": TOP_K}, name=f"/retrieve {name or user}",
                              headers=self.headers, catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}, not 200: {response.text}")
                return
            reply = response.json()
            if reply["user"] != user:
                response.failure(f"the service says that the user is {reply['user']}, {user} was expected: does it "
                                 "serve another bundle?")
        for stage in STAGES:
            self._stage(stage, reply["latency_ms"][stage])
        for level in reply["latency_ms"]["levels"]:
            self._stage(f"search, level {level['level']}", level["ms"])

    def _stage(self, name: str, milliseconds: float) -> None:
        self.environment.events.request.fire(request_type="stage", name=name, response_time=milliseconds,
                                             response_length=0, exception=None, context={})


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument("--bundle", env_var="LOCUST_BUNDLE", required=True,
                        help="the bundle that is served, or the folder of bundles; users and ads are drawn from it")
    parser.add_argument("--timeout-ms", env_var="LOCUST_TIMEOUT_MS", type=float, default=100.0,
                        help="deadline of the requests that have one (default %(default)g)")
    parser.add_argument("--p99-ms", env_var="LOCUST_P99_MS", type=float, default=100.0,
                        help="the run fails if the p99 of the requests is above (default %(default)g)")
    parser.add_argument("--error-share", env_var="LOCUST_ERROR_SHARE", type=float, default=0.001,
                        help="the run fails if a larger share of the requests fails (default %(default)g)")


@events.init.add_listener  # type: ignore[untyped-decorator]
def open_bundle(environment: Environment, **_: Any) -> None:
    """Opens the bundle that users are drawn from, or ends locust if it cannot be opened.

    The option is a string, not a path: a master sends the options to its workers as MessagePack.
    """
    options = environment.parsed_options
    if options is None:
        return
    try:
        Shopper.bundle = Bundle.open(served_bundle(Path(options.bundle)), verify=False)
    except (BundleError, PointerError) as error:
        raise SystemExit(f"error: {error}") from error
    Shopper.timeout_ms = options.timeout_ms


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def seed_population(environment: Environment, **_: Any) -> None:
    """Seeds the draws of this process, now that a worker knows its index."""
    runner = environment.runner
    Shopper.population = Population(Shopper.bundle, runner.worker_index if isinstance(runner, WorkerRunner) else 0)


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def judge(environment: Environment, **_: Any) -> None:
    """Prints whether the run was within its budget, and sets the exit status; a master judges for its workers."""
    options, runner = environment.parsed_options, environment.runner
    if options is None or runner is None or isinstance(runner, WorkerRunner):
        return
    rows = [row for row in environment.stats.entries.values() if row.method == "POST"]
    asked, failed = sum(row.num_requests for row in rows), sum(row.num_failures for row in rows)
    times: Counter[int] = Counter()
    for row in rows:
        times.update(row.response_times)
    p99 = calculate_response_time_percentile(times, asked, 0.99)
    passed = asked and failed <= options.error_share * asked and p99 <= options.p99_ms and not runner.exceptions
    print(f"{'PASSED' if passed else 'FAILED'}: {failed} of {asked} requests failed, {options.error_share:.2%} may; "
          f"p99 {p99:.0f} ms, {options.p99_ms:g} ms allowed")
    environment.process_exit_code = 0 if passed else 1
