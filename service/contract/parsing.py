"""Parsing: from the bytes of a request body to a Query that fits the bundle and the limits."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from index_store.bundle import layout
from index_store.bundle.manifest import Manifest
from index_store.declaration.values import as_key
from service.contract.errors import ErrorType, ServiceError, from_validation_error, shown
from service.contract.query import NO_USER, Query
from service.contract.schemas import ExplainRequest, RetrieveRequest
from service.settings import Settings, variable

Schema = TypeVar("Schema", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Largest values that a request may ask for."""

    max_top_k: int
    max_beam_width: int
    max_excluded: int
    min_timeout_ms: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(max_top_k=settings.max_top_k, max_beam_width=settings.max_beam_width,
                   max_excluded=settings.max_excluded, min_timeout_ms=settings.min_timeout_ms)


UNLIMITED = Limits(max_top_k=sys.maxsize, max_beam_width=sys.maxsize, max_excluded=sys.maxsize, min_timeout_ms=0.0)
"""For requests that the service makes itself, such as golden requests."""


def parse_body(body: bytes, schema: type[Schema] = RetrieveRequest) -> Schema:  # type: ignore[assignment]
    """Raises ServiceError if the body is not valid JSON or does not match the schema."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ServiceError(ErrorType.MALFORMED_JSON, f"the body of {len(body)} bytes is not valid JSON: {error}",
                           "send one JSON object in UTF-8, without NaN or Infinity") from error
    return parse_request(content, schema)


def parse_request(content: Any, schema: type[Schema] = RetrieveRequest) -> Schema:  # type: ignore[assignment]
    """Raises ServiceError if decoded JSON does not match the schema."""
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise from_validation_error(error, schema) from error


def to_query(request: RetrieveRequest, manifest: Manifest, limits: Limits) -> Query:
    """Fills in the bundle's defaults and checks the values.

    Raises:
        ServiceError: a value is above its limit, or does not fit the bundle, or nothing is said of the user.
        FeatureError: the user id is empty, too long or has a NUL.
    """
    if request.user_id is None and request.user_features is None:
        described = RetrieveRequest.model_fields["user_id"].description
        raise ServiceError(ErrorType.MISSING_FIELD, "the request has no user_id", f"user_id: {described}")
    user_id = NO_USER if request.user_id is None else as_key(request.user_id, "user_id")
    top_k = manifest.search.top_k if request.top_k is None else request.top_k
    _at_most("top_k", top_k, limits.max_top_k)
    excluded = request.exclude_ad_ids or []
    _at_most("number of exclude_ad_ids", len(excluded), limits.max_excluded, "max_excluded")
    _one_extent(request)
    if request.exact and request.explore:
        raise ServiceError(ErrorType.INVALID_VALUE, f"explore is {request.explore:g}, but exact is true, and the exact "
                           "answer is the ground truth, in which nothing is explored", "send one of them")
    if request.timeout_ms is not None and request.timeout_ms < limits.min_timeout_ms:
        raise ServiceError(ErrorType.INVALID_VALUE, f"timeout_ms is {request.timeout_ms:g}, below this service's floor "
                                                    f"of {limits.min_timeout_ms:g}",
                           f"send at least {limits.min_timeout_ms:g}, or have {variable('min_timeout_ms')} lowered")
    _check_value(request, manifest)
    return Query(user_id=user_id, user_features=request.user_features,
                 exclude_ad_ids=excluded, exclude_history=request.exclude_history, top_k=top_k,
                 beam_width=_beam_width(request.beam_width, manifest, limits),
                 exact=request.exact, task_weights=_task_weights(request.task_weights, manifest.tasks),
                 target_overlap=request.target_overlap, budget_ms=request.budget_ms, timeout_ms=request.timeout_ms,
                 explain=request.explain, explain_ad=request.ad_id if isinstance(request, ExplainRequest) else None,
                 context=request.context, targeting=request.targeting, by_ecpm=request.rank_by == "ecpm",
                 floor=request.floor or 0, max_per=request.max_per or {}, explore=request.explore)


def _check_value(request: RetrieveRequest, manifest: Manifest) -> None:
    """Refuses eCPM where no probability can be paid by, and a floor under scores."""
    if request.rank_by == "score":
        if request.floor is not None:
            raise ServiceError(ErrorType.INVALID_VALUE, f'floor is {request.floor}, but rank_by is "score"',
                               'send "rank_by": "ecpm" with it, or leave it out')
    elif layout.CALIBRATION not in manifest.files:
        trained = "impressions" if manifest.calibrated else "sampled negatives"
        raise ServiceError(
            ErrorType.INVALID_VALUE,
            f'rank_by is "ecpm", but bundle {manifest.bundle_id}, trained on {trained}, holds no calibration',
            "export the run again with test events or --holdout, on which its probabilities can be calibrated"
            if manifest.calibrated else
            "train on a log of impressions with labels (docs/data.md): sampled negatives yield no probabilities")


def _one_extent(request: RetrieveRequest) -> None:
    """Refuses a request that sets the extent of the search in two ways."""
    given = [name for name in ("beam_width", "target_overlap", "budget_ms") if getattr(request, name) is not None]
    if request.exact:
        given.append("exact")
    if len(given) > 1:
        # Both were always allowed together, and exact wins; to refuse it now would break callers.
        if given == ["beam_width", "exact"]:
            return
        raise ServiceError(ErrorType.INVALID_VALUE,
                           f"{' and '.join(given)} are given, but each sets the extent of the search",
                           "send one of them")


def _beam_width(asked: int | list[int] | None, manifest: Manifest, limits: Limits) -> tuple[int, ...] | None:
    inner = len(manifest.levels) - 1
    if asked is None:
        return None
    if isinstance(asked, int):
        _at_most("beam_width", asked, limits.max_beam_width)
        return (asked,) * inner
    if len(asked) != inner:
        raise ServiceError(ErrorType.INVALID_VALUE,
                           f"beam_width lists {len(asked)} numbers, the tree has {inner} levels above the ads",
                           f"send one integer for all levels, or a list of {inner}")
    for width in asked:
        _at_most("beam_width", width, limits.max_beam_width)
    return tuple(asked)


def _task_weights(asked: dict[str, float] | None, tasks: tuple[str, ...]) -> NDArray[np.float32]:
    if not asked:
        return np.array([1.0] + [0.0] * (len(tasks) - 1), np.float32)
    for name in asked:
        if name not in tasks:
            raise ServiceError(ErrorType.UNKNOWN_TASK, f"task_weights names {shown(name)}, the bundle has no such task",
                               f"use some of {', '.join(tasks)}")
    weights = np.array([asked.get(name, 0.0) for name in tasks], np.float32)
    if not weights.any():
        raise ServiceError(ErrorType.INVALID_VALUE, f"task_weights is {shown(asked)}, so every score would be 0",
                           "give at least one task a weight above 0")
    return weights


def _at_most(name: str, value: int, limit: int, setting: str | None = None) -> None:
    if value > limit:
        source = variable(setting or f"max_{name}")
        raise ServiceError(ErrorType.INVALID_VALUE, f"the {name} is {value}, above this service's limit of {limit}",
                           f"send at most {limit}, or have {source} raised")
