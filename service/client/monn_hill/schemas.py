# Types of requests and replies, made from docs/openapi.json by `make schemas`: do not edit.

from typing import Any, Literal, NotRequired, TypedDict


class AdBid(TypedDict):
    """What an ad pays."""

    micros: int
    """millionths of a unit of the currency"""
    type: Literal["CPM", "CPC", "CPA"]
    """for a thousand impressions, each click, each conversion"""


class AdPatch(TypedDict):
    """Body of PATCH /ads/{ad_id}: what is to change; the rest stays."""

    status: NotRequired[Literal["active", "paused"] | None]
    """active or paused"""
    targeting: NotRequired[dict[str, Any] | None]
    """predicate over the fields of users and context, as in the column of ads.parquet; null for everybody"""
    bid: NotRequired[dict[str, Any] | None]
    """an object such as {"micros": 250000, "type": "CPC"}: what the ad pays, in millionths of a unit of the currency, for a thousand impressions (CPM) or for each click (CPC) or conversion (CPA); null for none"""
    if_version: NotRequired[int | None]
    """version that the ad must have, 0 for one that was never changed; default: any"""


class AdPut(TypedDict):
    """Body of PUT /ads/{ad_id}: all that there is to say about an ad."""

    features: dict[str, Any]
    """every field of an ad that features.json declares, by name; null for no value, where it is not dense"""
    targeting: NotRequired[dict[str, Any] | None]
    """predicate over the fields of users and context, as in the column of ads.parquet; null for everybody"""
    status: NotRequired[Literal["active", "paused"]]
    """active or paused"""
    bid: NotRequired[dict[str, Any] | None]
    """an object such as {"micros": 250000, "type": "CPC"}: what the ad pays, in millionths of a unit of the currency, for a thousand impressions (CPM) or for each click (CPC) or conversion (CPA); null for none"""
    if_version: NotRequired[int | None]
    """version that the ad must have, 0 for one that was never changed; default: any"""


class BatchLine(TypedDict):
    """One line of the body of POST /ads:batch: what PUT, PATCH or DELETE /ads/{ad_id} does."""

    op: Literal["put", "patch", "delete"]
    """put, patch or delete"""
    ad_id: str | int
    """id of the ad, text or an integer"""
    features: NotRequired[dict[str, Any] | None]
    """every field of an ad that features.json declares, by name; null for no value, where it is not dense; for put alone"""
    targeting: NotRequired[dict[str, Any] | None]
    """predicate over the fields of users and context, as in the column of ads.parquet; null for everybody; for put and patch"""
    status: NotRequired[Literal["active", "paused"] | None]
    """active or paused; for put and patch"""
    bid: NotRequired[dict[str, Any] | None]
    """an object such as {"micros": 250000, "type": "CPC"}: what the ad pays, in millionths of a unit of the currency, for a thousand impressions (CPM) or for each click (CPC) or conversion (CPA); null for none; for put and patch"""
    if_version: NotRequired[int | None]
    """version that the ad must have, 0 for one that was never changed; default: any"""
    key: NotRequired[str | None]
    """idempotency key of this line, 1 to 128 printable characters of ASCII without spaces; default: that of the call and its number"""


class BatchReply(TypedDict):
    """Answer of POST /ads:batch."""

    versions: list[int]
    """that each line made, in order"""
    applied: bool
    """whether every worker of this replica answers accordingly to all of them"""


class CampaignPut(TypedDict):
    """Body of PUT /campaigns/{campaign_id}: all that there is to say about a campaign."""

    daily_budget_micros: int | None
    """what its ads may spend in a day of its time zone, in millionths of a unit of the currency; null for no budget"""
    currency: str
    """its code by ISO 4217, such as EUR: that of the bids, the same for all campaigns"""
    time_zone: NotRequired[str]
    """whose days they are, by its name of the IANA, such as Europe/Berlin; default: UTC"""
    frequency_cap: NotRequired[dict[str, Any] | None]
    """an object such as {"impressions": 3, "hours": 24}: a user who had so many of them, 1 to 100, within so many hours, 1 to 168, gets no ad of the campaign; null for none"""
    if_version: NotRequired[int | None]
    """version that the campaign must have, 0 for one that was never declared; default: any"""


class ContextEffect(TypedDict):
    """What the context of the request does to an ad's score."""

    score: float
    """of the ad in the request's context"""
    without: float
    """of the ad if the request named no context"""


class EmptyBecause(TypedDict):
    """Why an answer has no ad."""

    by: Literal["ads", "request", "campaigns", "exclusions", "floor"]
    """ads: none may be shown, or accepts the user and context; request: its targeting; campaigns: budgets, pacing and frequency caps; exclusions: exclude_ad_ids and exclude_history; floor: all promise less"""
    path: str | None
    """of the part of the request's targeting that leaves the fewest ads by itself, such as targeting.all[1]; null unless `by` is request"""
    clause: dict[str, Any] | None
    """that part itself"""
    left: int
    """number of ads that are left without campaigns, exclusions and floor, or by that part alone"""


class ErrorReply(TypedDict):
    """Body of every error reply."""

    error_type: str
    """one of the closed list in docs/operations.md"""
    message: str
    """the fact, with the value found"""
    help: str
    """what to do"""
    details: NotRequired[str | None]
    """further text of several lines, only if there is any"""


class EventLine(TypedDict):
    """One line of the body of POST /events: what a user did with an ad."""

    user_id: str | int
    """id of the user, text or an integer"""
    ad_id: str | int
    """id of the ad, text or an integer; a deleted ad still takes events"""
    type: Literal["impression", "click", "conversion"]
    """impression, click or conversion"""
    at: NotRequired[float | None]
    """when it was, in seconds since 1970; default: now"""
    price_micros: NotRequired[int | None]
    """what it costs the ad's campaign, in millionths of a unit of the currency; default: the ad's bid, if that pays for such an event (a thousandth of a CPM bid for an impression, a CPC bid for a click, a CPA bid for a conversion), else nothing"""
    request_id: NotRequired[str | None]
    """request_id of the answer that showed the ad, 1 to 64 of A-Z a-z 0-9 . _ : -"""
    propensity: NotRequired[float | None]
    """propensity of the ad in that answer, a number above 0 up to 1, which needs request_id: it is kept for off-policy estimates"""
    explored: NotRequired[bool | None]
    """explored of the ad in that answer, true or false; needs propensity"""
    context: NotRequired[dict[str, Any] | None]
    """an object of context fields in which the ad was shown, as in POST /retrieve, with those that answers are fixed at, such as the position"""
    key: NotRequired[str | None]
    """idempotency key of this line, 1 to 128 printable characters of ASCII without spaces; default: that of the call and its number"""


class EventsReply(TypedDict):
    """Answer of POST /events."""

    sequences: list[int]
    """sequence number of each line's event in the change log, in order"""
    applied: bool
    """whether every worker of this replica answers accordingly to all of them"""


class ExplainRequest(TypedDict):
    """Body of POST /explain: a request, and the ad to explain."""

    user_id: NotRequired[str | int | None]
    """id of the user, text of 1 to 128 bytes or an integer; an unknown one is answered too; may be left out if there are user_features, which then say all that is known"""
    top_k: NotRequired[int | None]
    """ads to return, an integer from 1 to limits.max_top_k of GET /info; default: the bundle's"""
    user_features: NotRequired[dict[str, Any] | None]
    """an object of user features that replace the stored ones field by field, and `history`, a list of ad ids, most recent first; GET /info lists the features"""
    beam_width: NotRequired[int | list[int] | None]
    """nodes to keep at each level above the ads, an integer from 1 to limits.max_beam_width of GET /info, or a list with one per level; default: the bundle's"""
    target_overlap: NotRequired[float | None]
    """share of the exhaustive answer that the beam should find on average, above 0 up to 1: picks the beam from the bundle's curve; not together with beam_width, budget_ms or exact"""
    budget_ms: NotRequired[float | None]
    """processing time in milliseconds, above 0, excluding time in the queue: picks the widest beam of the bundle's curve that fits; not together with beam_width, target_overlap or exact"""
    timeout_ms: NotRequired[float | None]
    """deadline in milliseconds from the arrival of the request, at least limits.min_timeout_ms of GET /info: the search narrows to meet it; default: the service's"""
    rank_by: NotRequired[Literal["score", "ecpm"]]
    """score, or ecpm: what the ads are expected to pay for a thousand impressions, by their bids and the bundle's calibrated probabilities; default: score"""
    floor: NotRequired[int | None]
    """least eCPM of a returned ad, an integer in micros (millionths of a unit of the currency) of at least 0; only with rank_by ecpm; default: none"""
    max_per: NotRequired[dict[str, int] | None]
    """an object of categorical ad field, or role of one (advertiser, campaign) -> most ads of the same value in the answer, an integer of at least 1; default: none"""
    explore: NotRequired[float | None]
    """share of the places of the answer that go to ads with few impressions, a number from 0 to 0.5, drawn by the request id; not above 0 together with exact; default: the service's, none for exact"""
    explain: NotRequired[bool]
    """true adds to each ad its path through the tree"""
    exact: NotRequired[bool]
    """true scores every ad instead of searching the tree: slow, the ground truth"""
    task_weights: NotRequired[dict[str, float] | None]
    """an object of task name -> weight, a number from 0 to 1000000, at least one above 0; tasks that it leaves out weigh 0; default: 1 for the first task"""
    targeting: NotRequired[dict[str, Any] | None]
    """an object, a predicate over ad fields that every returned ad satisfies, such as {"field": "category", "in": ["shoes"]}; docs/service.md has the grammar, GET /info lists the ad fields"""
    context: NotRequired[dict[str, Any] | None]
    """an object of context fields that the ads' own predicates or the model read; GET /info lists them"""
    exclude_history: NotRequired[bool | None]
    """true leaves out the ads of the user's history, all that the bundle and the change log know or those of user_features; default: as the log was declared, see docs/data.md"""
    exclude_ad_ids: NotRequired[list[str | int] | None]
    """a list of ad ids (text or integers) that must not be returned; unknown ids are ignored"""
    ad_id: str | int
    """id of an ad of the bundle, text or an integer"""


class FrequencyCap(TypedDict):
    """How often a user may see a campaign."""

    impressions: int
    hours: int


class HistoryCount(TypedDict):
    """How many ids of the inline history the bundle knows, and how many it does not; the latter count for nothing."""

    known: int
    """ids that the bundle has"""
    unknown: int
    """ids that the bundle does not have; a history of only these is answered like none"""


class InfoLimits(TypedDict):
    """Largest values that a request may ask for, and the smallest deadline."""

    max_top_k: int
    max_beam_width: int
    max_excluded: int
    """most ids in exclude_ad_ids"""
    min_timeout_ms: float
    max_body_bytes: int


class InfoReply(TypedDict):
    """Answer of GET /info."""

    version: str
    """of the service"""
    bundle: dict[str, Any]
    """the bundle's manifest, with total_bytes in place of the files"""
    scorer: str
    """what computes scores: the compiled kernel, or ONNX Runtime and why"""
    limits: InfoLimits
    tasks: list[str]
    user_features: dict[str, Literal["dense", "categorical", "multi", "location"]]
    """name -> kind"""
    context: dict[str, Literal["dense", "categorical", "multi", "location"]]
    """name -> kind"""
    model_context: dict[str, str | None]
    """context field that the model reads -> the value that answers are given for, whatever the request says; null if it is the request's"""
    ad_features: dict[str, Literal["dense", "categorical", "multi", "location"]]
    """name -> kind"""
    roles: dict[str, str]
    """advertiser and campaign -> the ad field that says so"""
    bid_types: list[Literal["CPM", "CPC", "CPA"]]
    """that a task or an impression is paid by"""
    ecpm: bool
    """whether rank_by may be ecpm: the probabilities are calibrated"""


class Level(TypedDict):
    """What the search did at one level of the tree."""

    level: int
    """1 is the coarsest, the last holds the ads"""
    candidates: int
    scored: int
    """0 if all candidates fit into the beam"""
    ms: float


class PathLevel(TypedDict):
    """An ad's node at one level of the tree."""

    level: int
    node: int
    """number within its level; at the last level the ad's position"""
    score: float | None
    """null if it was not scored: all candidates fitted into the beam, or the level was not reached"""
    rank: int | None
    """from 1, among the candidates that were scored"""
    margin: float | None
    """distance to the best candidate that was dropped, or to the lowest that was kept, in score or eCPM, whichever ranks"""
    ecpm: float | None
    """in micros, of the ad or promised by its node; null where the score ranks"""


class RefusedBy(TypedDict):
    """What keeps an ad from being eligible, or the cap that keeps it from the answer."""

    by: Literal["paused", "deleted", "unfit", "ad", "request", "budget", "pacing", "frequency_cap", "no_change_log", "exclude_ad_ids", "exclude_history", "max_per"]
    """the ad's status, whose predicate rejects it, its campaign (its budget of the day is spent, it is paced and this request not among those that pass, the user has seen it often enough, or nobody knows what it spends), or the request's exclusions or caps"""
    path: str
    """of the clause in that predicate, such as targeting.all[1], or of the cap, such as max_per.advertiser; campaign if that holds it back"""
    clause: dict[str, Any] | None
    """the clause itself; null unless a predicate rejects the ad"""
    version: int | None
    """of the ad, since it is paused, deleted or unfit; null otherwise"""
    campaign: str | None
    """that holds the ad back; null if none does"""
    until: float | None
    """when that ends, in seconds since 1970: a new day for a budget, another choice for pacing; null otherwise"""
    probability: float | None
    """share of the requests that pass, if by is pacing; null otherwise"""


class RetrieveRequest(TypedDict):
    """Body of POST /retrieve. A field that is null counts as absent; an unlisted field is refused."""

    user_id: NotRequired[str | int | None]
    """id of the user, text of 1 to 128 bytes or an integer; an unknown one is answered too; may be left out if there are user_features, which then say all that is known"""
    top_k: NotRequired[int | None]
    """ads to return, an integer from 1 to limits.max_top_k of GET /info; default: the bundle's"""
    user_features: NotRequired[dict[str, Any] | None]
    """an object of user features that replace the stored ones field by field, and `history`, a list of ad ids, most recent first; GET /info lists the features"""
    beam_width: NotRequired[int | list[int] | None]
    """nodes to keep at each level above the ads, an integer from 1 to limits.max_beam_width of GET /info, or a list with one per level; default: the bundle's"""
    target_overlap: NotRequired[float | None]
    """share of the exhaustive answer that the beam should find on average, above 0 up to 1: picks the beam from the bundle's curve; not together with beam_width, budget_ms or exact"""
    budget_ms: NotRequired[float | None]
    """processing time in milliseconds, above 0, excluding time in the queue: picks the widest beam of the bundle's curve that fits; not together with beam_width, target_overlap or exact"""
    timeout_ms: NotRequired[float | None]
    """deadline in milliseconds from the arrival of the request, at least limits.min_timeout_ms of GET /info: the search narrows to meet it; default: the service's"""
    rank_by: NotRequired[Literal["score", "ecpm"]]
    """score, or ecpm: what the ads are expected to pay for a thousand impressions, by their bids and the bundle's calibrated probabilities; default: score"""
    floor: NotRequired[int | None]
    """least eCPM of a returned ad, an integer in micros (millionths of a unit of the currency) of at least 0; only with rank_by ecpm; default: none"""
    max_per: NotRequired[dict[str, int] | None]
    """an object of categorical ad field, or role of one (advertiser, campaign) -> most ads of the same value in the answer, an integer of at least 1; default: none"""
    explore: NotRequired[float | None]
    """share of the places of the answer that go to ads with few impressions, a number from 0 to 0.5, drawn by the request id; not above 0 together with exact; default: the service's, none for exact"""
    explain: NotRequired[bool]
    """true adds to each ad its path through the tree"""
    exact: NotRequired[bool]
    """true scores every ad instead of searching the tree: slow, the ground truth"""
    task_weights: NotRequired[dict[str, float] | None]
    """an object of task name -> weight, a number from 0 to 1000000, at least one above 0; tasks that it leaves out weigh 0; default: 1 for the first task"""
    targeting: NotRequired[dict[str, Any] | None]
    """an object, a predicate over ad fields that every returned ad satisfies, such as {"field": "category", "in": ["shoes"]}; docs/service.md has the grammar, GET /info lists the ad fields"""
    context: NotRequired[dict[str, Any] | None]
    """an object of context fields that the ads' own predicates or the model read; GET /info lists them"""
    exclude_history: NotRequired[bool | None]
    """true leaves out the ads of the user's history, all that the bundle and the change log know or those of user_features; default: as the log was declared, see docs/data.md"""
    exclude_ad_ids: NotRequired[list[str | int] | None]
    """a list of ad ids (text or integers) that must not be returned; unknown ids are ignored"""


class UserPut(TypedDict):
    """Body of PUT /users/{user_id}."""

    features: dict[str, Any]
    """an object of all features of the user by name, as in user_features of a request; one that is left out is unknown from then on"""
    if_version: NotRequired[int | None]
    """version that the user must have, 0 for one whose features were never put; default: any"""


class UserReply(TypedDict):
    """Answer of PUT and DELETE /users/{user_id}."""

    user_id: str
    version: int
    """sequence number of the change"""
    applied: bool
    """whether every worker of this replica answers accordingly"""


class WorkerState(TypedDict):
    """What one worker has applied."""

    worker: int
    """its number within the replica, from 0"""
    as_of: int
    """sequence number of the last change that it has applied"""
    applied: bool
    """whether the ad's last change is among them"""


class WriteReply(TypedDict):
    """Answer of PUT, PATCH and DELETE /ads/{ad_id}."""

    ad_id: str
    status: Literal["active", "paused", "deleted"]
    version: int
    """of the ad, and sequence number of the change"""
    unseen: list[str]
    """features with a value that the bundle has never seen: it takes the ad for one without that value"""
    applied: bool
    """whether every worker of this replica answers accordingly"""


class Ad(TypedDict):
    """One ad of the answer."""

    ad_id: str
    score: float
    """sum over tasks of weight x logit"""
    probabilities: NotRequired[dict[str, float] | None]
    """task -> probability of an impression's label, calibrated if the bundle is; only if the tasks were trained on impressions"""
    ecpm: NotRequired[float | None]
    """what it is expected to pay for a thousand impressions, in micros, 0 without a bid; only with rank_by ecpm"""
    bid: NotRequired[AdBid | None]
    """that this is made of; only with rank_by ecpm"""
    propensity: NotRequired[float | None]
    """probability that an answer to this request shows the ad; only if the request explores"""
    explored: NotRequired[bool | None]
    """true if it has the place of an ad that ranks there, to be explored; absent otherwise"""
    path: NotRequired[list[PathLevel] | None]
    """only if the request sets `explain`"""


class AdReply(TypedDict):
    """Answer of GET /ads/{ad_id}."""

    ad_id: str
    status: Literal["active", "paused", "deleted"]
    version: int
    """sequence number of its last change; 0 if it was never changed"""
    changed_at: float | None
    """when that was, in seconds since 1970"""
    features: dict[str, Any] | None
    """that a change gave it; null if they are those of the bundle"""
    targeting: dict[str, Any] | None
    """that a change gave it; null if that is the bundle's, or none"""
    bid: AdBid | None
    """as this worker has it, from the last change or the bundle; null if the ad has none, or this worker does not have the ad yet"""
    bundle_id: str
    """the bundle that this worker serves"""
    path: list[int] | None
    """the ad's node at each level of the tree, at the last level its position; null if this worker does not have the ad yet"""
    unfit: str | None
    """why its last change does not fit that bundle, which therefore does not return it; null if it does"""
    workers: list[WorkerState]
    """of this replica, those that serve"""


class CampaignReply(TypedDict):
    """Answer of PUT and GET /campaigns/{campaign_id}."""

    campaign_id: str
    version: int
    """of the campaign, and sequence number of the change"""
    daily_budget_micros: int | None
    """what its ads may spend in a day of its time zone, in millionths of a unit of the currency; null for no budget"""
    currency: str
    time_zone: str
    frequency_cap: FrequencyCap | None
    """an object such as {"impressions": 3, "hours": 24}: a user who had so many of them, 1 to 100, within so many hours, 1 to 168, gets no ad of the campaign; null for none"""
    ads: int
    """number of ads that this worker knows of the campaign"""
    spent_today_micros: int
    """in the current day of its time zone, as far as this worker has applied the change log, rounded down"""
    gate: Literal["open", "paced", "closed"]
    """open: all requests may get its ads; paced: a share of them; closed: none, since the budget of the day is spent, or since the change log cannot be read"""
    closed_until: float | None
    """when the gate opens again, in seconds since 1970; null unless a spent budget closes it"""
    pass_probability: float
    """share of the requests that may get its ads now"""
    applied: bool
    """whether every worker of this replica answers accordingly"""


class ExplainReply(TypedDict):
    """Answer of POST /explain."""

    request_id: str
    bundle_id: str
    as_of: int
    """sequence number of the last change of ads and users that the answer takes into account; 0 if there was none"""
    ad_id: str
    outcome: Literal["returned", "explored", "displaced", "below_floor", "outscored", "capped", "pruned", "cut_short", "filtered"]
    eligible: bool
    refused_by: RefusedBy | None
    """if the outcome is filtered or capped"""
    level: int | None
    """of the tree, where the outcome was decided; null if filtered"""
    score: float | None
    """of the ad or its node there"""
    rank: int | None
    margin: float | None
    ecpm: float | None
    """of the ad or its node there; null where the score ranks"""
    kth_score: float | None
    """score of the last ad that was returned"""
    kth_ecpm: float | None
    """its eCPM; null where the score ranks"""
    propensity: float | None
    """probability that an answer to this request shows the ad, 0 if it is out of reach; null unless the request explores"""
    context: ContextEffect | None
    """null if the model reads no context"""
    path: list[PathLevel]
    """down to that level"""
    user: Literal["known", "inline", "unknown"]
    history: HistoryCount | None
    """as in the answer of POST /retrieve"""
    coverage: float
    degraded: list[Literal["redis", "deadline", "shard"]]


class Latency(TypedDict):
    """Where the time went, in milliseconds."""

    total: float
    """from the request's headers to the finished answer, before it is sent"""
    queue: float
    """waiting for a free search thread"""
    features: float
    """encoding the user's features and the excluded ids"""
    cache: float
    """asking the user caches"""
    user_tower: float
    search: float
    scorer: float
    """the part of `search` within the scorer: its graph, or the compiled kernel"""
    levels: list[Level]


class RetrieveReply(TypedDict):
    """Answer of POST /retrieve."""

    request_id: str
    bundle_id: str
    as_of: int
    """sequence number of the last change of ads and users that the answer takes into account; 0 if there was none"""
    ads: list[Ad]
    """best first, but for explored ones; min(top_k, eligible), or what max_per and floor leave of them"""
    user: Literal["known", "inline", "unknown"]
    history: HistoryCount | None
    """of the history in user_features; null if the request has none"""
    unknown_context: list[str]
    """the fields of model_context that count as unknown: the request leaves them out, or no event of the log had their value"""
    user_cache: Literal["local", "redis", "miss", "bypass"]
    coverage: float
    """share of the planned pairs that was scored; below 1 only under a deadline, or if a shard is gone or late"""
    estimated_overlap: float | None
    """share of the exhaustive answer that this beam finds on average, by the bundle's curve; null if the beam is not on the curve, under targeting or max_per, and where campaigns hold ads back; 1 for exact"""
    degraded: list[Literal["redis", "deadline", "shard"]]
    """what the answer had to do without: Redis, pairs that did not fit before the deadline, or those of a shard that is gone or late"""
    eligible: int
    """number of ads that are neither paused nor deleted, pass targeting and exclusions, and are not held back by their campaigns"""
    empty: EmptyBecause | None
    """why `ads` is empty; null if it is not, or a deadline or a missing shard emptied it"""
    pairs_scored: int
    latency_ms: Latency


class BatchedAnswer(TypedDict):
    """What POST /retrieve would have replied to one query of a batch: an answer or an error."""

    index: int
    """of the query in the batch, from 0; empty lines do not count"""
    status: int
    """HTTP status: 200 for an answer"""
    answer: NotRequired[RetrieveReply | None]
    """only if the status is 200"""
    error: NotRequired[ErrorReply | None]
    """only if it is not"""
    retry_after: NotRequired[int | None]
    """seconds after which an overloaded service may be asked again; only if it says so"""


class RetrieveBatchReply(TypedDict):
    """Answer of POST /retrieve:batch."""

    answers: list[BatchedAnswer]
    """one for each query, in order"""
