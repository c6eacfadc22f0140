"""The service's settings: read once from the environment at start, passed down, never changed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "RETRIEVAL_"


class SettingsError(Exception):
    """A setting cannot be used; the message has the variable, its value and what to do."""


class Settings(BaseSettings):
    """Each field is read from `RETRIEVAL_<NAME>`, the Redis URL from `REDIS_URL`; docs/operations.md lists them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0 lets the system choose")
    workers: int = Field(default=1, ge=1, le=256, description="processes that answer requests")
    # Longer than the usual idle time of load balancers, so that they close first and never meet a closed connection.
    idle_seconds: int = Field(default=75, ge=1, description="time that a connection stays open without a request")
    header_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False,
                                  description="time for the headers of a request")
    body_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False, description="time for the body of a request")
    drain_seconds: float = Field(default=5.0, ge=0, allow_inf_nan=False,
                                 description="time after SIGTERM in which new requests are refused")
    shutdown_seconds: int = Field(default=10, ge=1, description="time that running requests get to finish at shutdown")
    search_threads: int = Field(default=1, ge=1, le=64, description="searches that one worker runs at the same time")
    kernel: Literal["compiled", "onnx"] = Field(default="compiled", description="what computes scores: the compiled "
                                                                                "kernel, where it can, or ONNX Runtime")
    onnx_threads: int = Field(default=1, ge=1, le=64, description="threads of one call of ONNX Runtime")
    max_queue: int = Field(default=64, ge=0, description="requests that may wait for a search thread of one worker")
    default_timeout_ms: float = Field(default=0.0, ge=0, description="deadline of a request that names none; 0 is none")
    min_timeout_ms: float = Field(default=2.0, gt=0, allow_inf_nan=False,
                                  description="smallest timeout_ms that a request may ask for")
    max_top_k: int = Field(default=1_000, ge=1, description="largest top_k that a request may ask for")
    max_beam_width: int = Field(default=10_000, ge=1, description="largest beam_width that a request may ask for")
    max_excluded: int = Field(default=10_000, ge=0, description="most ad ids in exclude_ad_ids")
    targeting_cache_entries: int = Field(default=256, ge=1, description="targeting signatures whose bitmaps each "
                                                                        "worker keeps, 190 KB each at a million ads")
    max_body_bytes: int = Field(default=256 * 1024, ge=1, description="largest request body, in bytes")
    recorded_requests: int = Field(default=64, ge=0, description="recent request bodies that each worker keeps in "
                                                                 "memory, for a new bundle to be tried on; 0 is none")
    explore: float = Field(default=0.0, ge=0, le=0.5, description="share of the places of an answer that go to ads "
                                                                  "with few impressions, where a request names none")
    explore_below: int = Field(default=100, ge=1, le=65_535, description="an ad with fewer impressions may be explored")
    quality_sample_rate: float = Field(default=0.001, ge=0, le=1, description="share of the answers that is searched "
                                                                              "for again, exhaustively")
    calibration_sample_rate: float = Field(default=0.01, ge=0, le=1, description="share of the pairs of user and ad "
                                                                                 "whose events measure calibration")
    beam_sample_rate: float = Field(default=0.0, ge=0, le=1, description="share of the answers whose beam is recorded")
    beam_folder: Path | None = Field(default=None, validate_default=True, description="where recorded beams are "
                                                                                      "written, as Parquet files")
    shadow_share: float = Field(default=0.05, gt=0, le=1, description="share of one core of each worker that "
                                                                      "comparisons with a shadow may take")
    gate_overlap_loss: float = Field(default=0.02, ge=0, le=1, description="overlap with the exhaustive answer that a "
                                                                           "new bundle may lose")
    gate_recall_loss: float = Field(default=0.05, ge=0, le=1, description="share of the sealed recall that it may lose")
    gate_ads_loss: float = Field(default=0.1, ge=0, le=1, description="share of the ads, in the index and returned, "
                                                                      "that it may lose")
    gate_latency_rise: float = Field(default=0.25, ge=0, description="share by which its median search may be slower")
    gate_seconds: float = Field(default=20.0, gt=0, description="time for the exhaustive searches of the gate")
    gate_shadow_comparisons: int = Field(default=200, ge=0, description="comparisons with a shadow from which the gate "
                                                                        "takes its measures too; 0 never does")
    gate_shadow_overlap: float = Field(default=0.3, ge=0, le=1, description="share of the returned ads that a bundle "
                                                                            "has to show too as a shadow")
    gate_shadow_drift: float = Field(default=0.1, ge=0, le=1, description="by how much its probabilities of the ads "
                                                                          "that both show may be off on average")
    shards: Path | None = Field(default=None, description="address book of the shards of roots: a JSON file that says "
                                                          "where they are; whole bundles need none")
    shard_timeout_ms: float = Field(default=500.0, gt=0, allow_inf_nan=False,
                                    description="time that a search waits for a shard at most; one with a deadline "
                                                "waits no longer than that")
    user_cache: bool = Field(default=True, description="whether user embeddings are cached, here and in Redis")
    user_cache_entries: int = Field(default=50_000, ge=1, description="embeddings that each worker keeps in memory")
    redis_url: SecretStr | None = Field(default=None, validation_alias="REDIS_URL",
                                        description="the shared cache; without it each worker has only its own cache")
    redis_password_file: Path | None = Field(default=None, description="file with the password of Redis, read for "
                                                                       "every new connection")
    redis_timeout_ms: float = Field(default=20.0, gt=0, allow_inf_nan=False,
                                    description="time that a request waits for Redis at most; one with a deadline "
                                                "waits half of what is left until it")
    redis_ttl_seconds: int = Field(default=86_400, ge=1, description="time that an embedding stays in Redis")
    redis_pause_seconds: float = Field(default=1.0, ge=0, description="time that requests skip Redis after a failure")
    redis_pending_writes: int = Field(default=1_000, ge=1,
                                      description="writes that may be pending; further ones are dropped")

    traces: bool = Field(default=False, description="whether spans of sampled requests are exported to a collector, as "
                                                    "the variables OTEL_... of OpenTelemetry say")
    console: bool = Field(default=True, description="whether /console has the console's page")
    console_images: str | None = Field(default=None, description="origins of pictures of ads that the console shows, "
                                                                 "such as https://img.example.com, with spaces between")
    read_token: SecretStr | None = Field(default=None, description="bearer token for requests for ads; without it they "
                                                                   "are open to everyone")
    write_token: SecretStr | None = Field(default=None, description="bearer token for calls to the change log; "
                                                                    "without it all of them are refused")
    admin_token: SecretStr | None = Field(default=None, description="bearer token for /admin/; without it all admin "
                                                                    "calls are refused")
    read_rate: float = Field(default=0.0, ge=0, allow_inf_nan=False,
                             description="requests for ads that a worker accepts a second; 0 is no limit")
    write_rate: float = Field(default=0.0, ge=0, allow_inf_nan=False,
                              description="calls that change ads that a worker accepts a second; 0 is no limit")
    admin_rate: float = Field(default=0.0, ge=0, allow_inf_nan=False,
                              description="admin calls that a worker accepts a second; 0 is no limit")
    change_log: SecretStr | None = Field(default=None, description="file or Redis of the change log; by default a file "
                                                                   "in the folder of bundles, none for a single bundle")
    budgets_without_log: Literal["open", "closed"] = Field(
        default="open", description="what campaigns with a budget do while the change log cannot be read, so that "
                                    "nobody knows what they spend: go on as paced last, or hold all their ads back")
    pointer_poll_seconds: float = Field(default=0.5, gt=0, le=60, description="polling interval for the pointer")
    load_seconds: float = Field(default=120.0, gt=0, allow_inf_nan=False,
                                description="time that loading a bundle may take")

    @field_validator("host")
    @classmethod
    def _is_not_empty(cls, value: str) -> str:
        """Refuses an empty address, often an unset variable, which the operating system reads as all addresses."""
        host = value.strip()
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host  # as in a URL
        if not host:
            raise ValueError("an address is needed, such as 127.0.0.1, or 0.0.0.0 to listen on all of them")
        return host

    @field_validator("read_token", "write_token", "admin_token", "change_log")
    @classmethod
    def _is_no_empty_secret(cls, value: SecretStr | None) -> SecretStr | None:
        """Reads an empty value, which an unset variable of a compose file leaves, as none: nothing matches it."""
        token = "" if value is None else value.get_secret_value().strip()
        return SecretStr(token) if token else None

    @field_validator("console_images")
    @classmethod
    def _are_origins(cls, value: str | None) -> str | None:
        """Refuses what is no list of origins: it becomes part of a header."""
        origins = (value or "").split()
        for origin in origins:
            if not re.fullmatch(r"https?://[A-Za-z0-9.*-]+(:\d+)?", origin):
                raise ValueError(f"{origin} is no origin, such as https://img.example.com, without a path")
        return " ".join(origins) or None

    @field_validator("beam_sample_rate")
    @classmethod
    def _can_be_recorded(cls, value: float) -> float:
        if value and find_spec("pyarrow") is None:
            raise ValueError("recorded beams are Parquet files, and pyarrow is not installed; install the extra "
                             "`beams`, build the image with --build-arg SERVE_LOCK=serve-beams, or set it to 0")
        return value

    @field_validator("traces")
    @classmethod
    def _can_be_exported(cls, value: bool) -> bool:
        if value and not _is_installed("opentelemetry.exporter.otlp.proto.http.trace_exporter"):
            raise ValueError("spans are exported by OpenTelemetry, and opentelemetry-exporter-otlp-proto-http is not "
                             "installed; install the extra `trace`, or set it to false")
        return value

    @field_validator("beam_folder", "redis_password_file", "shards", mode="before")
    @classmethod
    def _is_no_empty_path(cls, value: Any) -> Any:
        """Reads an empty path, which an unset variable of a compose file leaves, as none."""
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("beam_folder")
    @classmethod
    def _is_there_if_beams_are_recorded(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None and info.data.get("beam_sample_rate"):
            raise ValueError(f"{PREFIX}BEAM_SAMPLE_RATE is {info.data['beam_sample_rate']}, so the folder of the "
                             "recorded beams has to be named")
        return value

    @field_validator("redis_password_file")
    @classmethod
    def _has_a_redis(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("redis_url") is None:
            raise ValueError("REDIS_URL is not set, so the password would never be used; set it, or remove this one")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_no_empty_url(cls, value: SecretStr | None) -> SecretStr | None:
        """Reads an empty URL as none; `service.cache.redis_connection` checks the others."""
        return None if value is None or not value.get_secret_value().strip() else value


def variable(name: str) -> str:
    """Environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{name.upper()}"


def service_links(environment: Mapping[str, str]) -> set[str]:
    """Variables that Kubernetes sets in every pod for a Service named `retrieval` or `retrieval-...`.

    The name alone is not enough, or a misspelt setting could pass for one: the values have to be such as Kubernetes
    writes, and those of one Service have to agree.
    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    found: set[str] = set()
    for name, host in environment.items():
        match = re.fullmatch(f"({PREFIX}(?:[A-Z0-9_]+_)?)SERVICE_HOST", name)
        if match and _is_address(host):
            found |= _links_of_service(environment, match[1], host)
    return found


def _links_of_service(environment: Mapping[str, str], prefix: str, host: str) -> set[str]:
    url = rf"(tcp|udp|sctp)://{re.escape(f'[{host}]' if ':' in host else host)}:\d+"
    port = r"PORT_\d+_(TCP|UDP|SCTP)"
    shapes = {"SERVICE_HOST": re.escape(host), "SERVICE_PORT": r"\d+", "SERVICE_PORT_[A-Z0-9_]+": r"\d+",
              "PORT": url, port: url, f"{port}_PROTO": "tcp|udp|sctp", f"{port}_PORT": r"\d+",
              f"{port}_ADDR": re.escape(host)}
    links = {name for name, value in environment.items() for suffix, shape in shapes.items()
             if re.fullmatch(prefix + suffix, name) and re.fullmatch(shape, value)}
    first = f"{prefix}PORT_{environment.get(f'{prefix}SERVICE_PORT')}_"  # a pod's own RETRIEVAL_PORT replaces the link
    return links if any(name.startswith(first) for name in links) else set()


def _is_installed(module: str) -> bool:
    """Whether a module within packages can be imported; only the packages are."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # one of the packages
        return False


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def read_settings(overrides: Mapping[str, Any]) -> Settings:
    """Settings from the environment, some of them replaced.

    Args:
        overrides: name -> value from the command line; None means not given.

    Raises:
        SettingsError: a value does not fit, or a variable with the prefix is neither ours nor a link of Kubernetes.
    """
    names, links = {variable(name) for name in Settings.model_fields}, service_links(os.environ)
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in names | links:
            raise SettingsError(f"{name} is set, but is not a setting; correct it to one of {', '.join(sorted(names))}")
    defaults = {name: field.default for name, field in Settings.model_fields.items() if variable(name) in links}
    try:
        return Settings(**defaults | {name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        # The URLs may hold a password, so their values are never shown; nor are the tokens.
        secrets = {spelling for field in ("redis_url", "read_token", "write_token", "admin_token", "change_log")
                   for spelling in (field, variable(field))}
        value = "as given" if name in secrets else f"{first['input']!r}"
        known = variable(name) if name in Settings.model_fields else name
        raise SettingsError(f"{known} {value} cannot be used: {first['msg']}; see docs/operations.md") from error
