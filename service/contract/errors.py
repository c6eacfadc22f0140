"""Errors: the closed list of types that a reply can name, and the mapping of other layers' errors to it.

Every refusal says who is at fault (4xx: the request, 5xx: the service), what was found, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from reprlib import repr as short
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from index_store.declaration.values import FeatureError
from index_store.targeting.predicates import PredicateError


class ErrorType(StrEnum):
    """The error types. `STATUS` has the HTTP status of each; docs/operations.md has a row for each."""

    MALFORMED_JSON = "malformed_json"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    WRONG_TYPE = "wrong_type"
    INVALID_VALUE = "invalid_value"
    UNKNOWN_TASK = "unknown_task"
    UNKNOWN_FEATURE = "unknown_feature"
    INVALID_FEATURE = "invalid_feature"
    INVALID_TARGETING = "invalid_targeting"
    INVALID_CONTEXT = "invalid_context"
    UNKNOWN_AD = "unknown_ad"
    INVALID_LINE = "invalid_line"
    AD_NOT_FOUND = "ad_not_found"
    CAMPAIGN_NOT_FOUND = "campaign_not_found"
    NO_CAMPAIGNS = "no_campaigns"
    VERSION_CONFLICT = "version_conflict"
    AD_DELETED = "ad_deleted"
    KEY_REUSED = "key_reused"
    NO_CHANGE_LOG = "no_change_log"
    WRITES_DISABLED = "writes_disabled"
    CHANGES_TRIMMED = "changes_trimmed"
    CHANGE_LOG_UNAVAILABLE = "change_log_unavailable"
    NOT_APPLIED = "not_applied"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate_limited"
    DEADLINE_UNREACHABLE = "deadline_unreachable"
    UNAUTHORIZED = "unauthorized"
    WRONG_SCOPE = "wrong_scope"
    ADMIN_DISABLED = "admin_disabled"
    UNKNOWN_BUNDLE = "unknown_bundle"
    BUNDLE_REFUSED = "bundle_refused"
    LOAD_IN_PROGRESS = "load_in_progress"
    POINTER_CHANGED = "pointer_changed"
    NO_PREVIOUS_BUNDLE = "no_previous_bundle"
    NO_BUNDLE_STORE = "no_bundle_store"
    POINTER_UNWRITABLE = "pointer_unwritable"
    LOAD_INCOMPLETE = "load_incomplete"
    TRIAL_RUNNING = "trial_running"
    NO_TRIAL = "no_trial"
    DRAINING = "draining"
    NOT_READY = "not_ready"
    INTERNAL = "internal"


STATUS: Mapping[ErrorType, int] = {
    ErrorType.MALFORMED_JSON: 400,
    ErrorType.NOT_FOUND: 404,
    ErrorType.METHOD_NOT_ALLOWED: 405,
    ErrorType.REQUEST_TIMEOUT: 408,
    ErrorType.BODY_TOO_LARGE: 413,
    ErrorType.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorType.MISSING_FIELD: 422,
    ErrorType.UNKNOWN_FIELD: 422,
    ErrorType.WRONG_TYPE: 422,
    ErrorType.INVALID_VALUE: 422,
    ErrorType.UNKNOWN_TASK: 422,
    ErrorType.UNKNOWN_FEATURE: 422,
    ErrorType.INVALID_FEATURE: 422,
    ErrorType.INVALID_TARGETING: 422,
    ErrorType.INVALID_CONTEXT: 422,
    ErrorType.UNKNOWN_AD: 422,
    ErrorType.INVALID_LINE: 422,
    ErrorType.AD_NOT_FOUND: 404,
    ErrorType.CAMPAIGN_NOT_FOUND: 404,
    ErrorType.NO_CAMPAIGNS: 409,
    ErrorType.VERSION_CONFLICT: 409,
    ErrorType.AD_DELETED: 409,
    ErrorType.KEY_REUSED: 409,
    ErrorType.NO_CHANGE_LOG: 409,
    ErrorType.WRITES_DISABLED: 403,
    ErrorType.CHANGES_TRIMMED: 410,
    ErrorType.CHANGE_LOG_UNAVAILABLE: 503,
    ErrorType.NOT_APPLIED: 503,
    ErrorType.OVERLOADED: 429,
    ErrorType.RATE_LIMITED: 429,
    ErrorType.DEADLINE_UNREACHABLE: 429,
    ErrorType.UNAUTHORIZED: 401,
    ErrorType.WRONG_SCOPE: 403,
    ErrorType.ADMIN_DISABLED: 403,
    ErrorType.UNKNOWN_BUNDLE: 404,
    ErrorType.BUNDLE_REFUSED: 409,
    ErrorType.LOAD_IN_PROGRESS: 409,
    ErrorType.POINTER_CHANGED: 409,
    ErrorType.NO_PREVIOUS_BUNDLE: 409,
    ErrorType.NO_BUNDLE_STORE: 409,
    ErrorType.POINTER_UNWRITABLE: 503,
    ErrorType.LOAD_INCOMPLETE: 503,
    ErrorType.TRIAL_RUNNING: 409,
    ErrorType.NO_TRIAL: 409,
    ErrorType.DRAINING: 503,
    ErrorType.NOT_READY: 503,
    ErrorType.INTERNAL: 500,
}

_HEADERS: Mapping[ErrorType, dict[str, str]] = {
    ErrorType.REQUEST_TIMEOUT: {"connection": "close"},  # the rest of the body may still come
    ErrorType.UNAUTHORIZED: {"www-authenticate": "Bearer"},
    ErrorType.DRAINING: {"connection": "close"},  # the next request had better find another replica
}

_LONGEST_MESSAGE = 400
_LONGEST_VALUE = 60
_JSON_NAMES = {bool: "a boolean", int: "an integer", float: "a number", str: "text", list: "a list", dict: "an object",
               type(None): "null"}


class ServiceError(Exception):
    """A refusal of one request.

    Attributes:
        error_type: which of the closed list.
        message: the fact, with both values.
        help: what to do.
        retry_after: value of the header of this name, in whole seconds; None leaves it out.
        details: more to read, of several lines; only where there is more.
    """

    def __init__(self, error_type: ErrorType, message: str, remedy: str, retry_after: int | None = None,
                 details: str = "") -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "…"
        self.help = remedy
        self.retry_after = retry_after
        self.details = details

    @property
    def status(self) -> int:
        return STATUS[self.error_type]

    def body(self) -> bytes:
        body = {"error_type": self.error_type, "message": self.message, "help": self.help}
        return orjson.dumps(body | {"details": self.details} if self.details else body)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the reply."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return headers | _HEADERS.get(self.error_type, {})


def internal_error() -> ServiceError:
    """The reply to a request that hit a defect: without details, which are in the log under the same request id."""
    return ServiceError(ErrorType.INTERNAL, "the service failed; the request is not at fault",
                        "try again; if it fails again, give the X-Request-ID of this reply to the service's operators")


def ad_not_found(ad_id: str) -> ServiceError:
    """The reply to a call about an ad that nobody knows."""
    return ServiceError(ErrorType.AD_NOT_FOUND, f"neither the bundle nor the change log has an ad {shown(ad_id)}",
                        "name an ad of the catalogue that the bundle was exported from, or add it by PUT /ads/{ad_id}")


def from_feature_error(error: FeatureError, user_fields: frozenset[str]) -> ServiceError:
    """The reply to a FeatureError, by the feature or request field that it names."""
    fact, remedy = error.fact, error.remedy
    if error.name in user_fields or error.name == "history":
        return ServiceError(ErrorType.INVALID_FEATURE, fact, f"in user_features, {remedy}")
    if error.name in ("user_id", "exclude_ad_ids", "ad_id", "campaign_id", "max_per"):
        return ServiceError(ErrorType.INVALID_VALUE, fact, remedy)
    if error.name.startswith("context."):
        return ServiceError(ErrorType.INVALID_CONTEXT, fact, f"in context, {remedy}")
    return ServiceError(ErrorType.UNKNOWN_FEATURE, fact, f"remove it: {remedy}, and history")


def from_ad_feature_error(error: FeatureError, ad_fields: frozenset[str]) -> ServiceError:
    """The reply to a FeatureError about the features of an ad."""
    if error.name in ad_fields:
        return ServiceError(ErrorType.INVALID_FEATURE, error.fact, f"in features, {error.remedy}")
    return ServiceError(ErrorType.UNKNOWN_FEATURE, error.fact, f"remove it: {error.remedy}")


def from_predicate_error(error: PredicateError) -> ServiceError:
    """A malformed clause, with its path inside the request."""
    return ServiceError(ErrorType.INVALID_TARGETING, error.fact, error.remedy)


def from_validation_error(error: ValidationError, model: type[BaseModel]) -> ServiceError:
    """The reply for the most informative of the errors that pydantic found in a request body."""
    found = error.errors(include_url=False, include_context=False)
    # For a field of several types pydantic reports one error for each; the one that is not about the type says more.
    first = next((entry for entry in found if not entry["type"].endswith("_type")), found[0])
    kind, value = first["type"], first["input"]
    if not first["loc"]:
        return ServiceError(ErrorType.WRONG_TYPE, f"the body is {_JSON_NAMES.get(type(value), 'no object')}",
                            "send one JSON object, such as {\"user_id\": \"42\"}")
    path = _path(first["loc"])
    name = str(first["loc"][0])
    if kind == "extra_forbidden":
        return ServiceError(ErrorType.UNKNOWN_FIELD, f"the request has a field {shown(name)}, which is not known here",
                            f"remove it; known fields are {', '.join(model.model_fields)}")
    help_text = f"{name}: {model.model_fields[name].description}"
    if kind == "missing":
        return ServiceError(ErrorType.MISSING_FIELD, f"the request has no {path}", help_text)
    what = f"{path} is {shown(value)}, {_JSON_NAMES.get(type(value), 'of another type')}"
    if kind.endswith("_type"):
        return ServiceError(ErrorType.WRONG_TYPE, what, help_text)
    return ServiceError(ErrorType.INVALID_VALUE, f"{what}; {first['msg'].lower()}", help_text)


def shown(value: Any) -> str:
    """A value of a request as JSON, cut to a readable length."""
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # nested deeper than orjson writes, though not deeper than it reads
        text = short(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"


def _path(location: tuple[int | str, ...]) -> str:
    """`task_weights.click`, `exclude_ad_ids[3]`: pydantic's location without the names of union branches."""
    path = str(location[0])
    for part in location[1:]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif location[0] in ("task_weights", "max_per"):
            path += f".{part}"
    return path
