"""Ad check: whether what a caller says about an ad fits the bundle, before it is written."""

from __future__ import annotations

from index_store.changes.change_log import Write
from index_store.declaration.spec import FeatureSpec
from index_store.declaration.values import FeatureError
from index_store.features.encoder import UNKNOWN, Features
from index_store.live.ad_changes import TARGETING
from index_store.live.snapshot import Snapshot
from index_store.live.users import FEATURES
from index_store.targeting.predicates import PredicateError, parse_predicate
from index_store.value.bids import BID, parse_bid
from service.contract.errors import ErrorType, ServiceError, from_ad_feature_error, from_predicate_error


def check(write: Write, snapshot: Snapshot) -> list[str]:
    """Checks features, targeting and bid, if the write gives them.

    Returns:
        Names of the categorical and multi features with values that the bundle has never seen: for this bundle the ad
        is one without these values.

    Raises:
        ServiceError: they do not fit.
    """
    spec = snapshot.encoder.spec
    try:
        if write.fields.get(TARGETING) is not None:
            parse_predicate(write.fields[TARGETING], spec.audience_kinds)
        if write.fields.get(BID) is not None:
            parse_bid(write.fields[BID], spec.paid)
        if FEATURES not in write.fields:
            return []
        raw = write.fields[FEATURES]
        return _unseen(spec, raw, snapshot.arrivals.features(raw))
    except PredicateError as error:
        raise from_predicate_error(error) from error
    except FeatureError as error:
        if error.name == BID:
            raise ServiceError(ErrorType.INVALID_VALUE, error.fact, error.remedy) from error
        raise from_ad_feature_error(error, frozenset(entry.name for entry in spec.item_fields)) from error


def _unseen(spec: FeatureSpec, raw: dict[str, object], encoded: Features) -> list[str]:
    of_one = zip(spec.fields("item", "categorical"), encoded.categorical[0].tolist(), strict=True)
    of_many = zip(spec.fields("item", "multi"), encoded.multi, strict=True)
    return [*(name for name, number in of_one if number == UNKNOWN and raw[name] is not None),
            *(name for name, known in of_many
              if isinstance(values := raw[name], list) and len(known.values) < len(values))]
