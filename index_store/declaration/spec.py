"""Feature declaration: the fields of users, items and context, the tasks, and what a model reads of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from index_store.declaration.context_fields import check_context_fields
from index_store.declaration.label_windows import check_label_windows
from index_store.declaration.nearest import suggestion
from index_store.declaration.reading import read_declaration
from index_store.declaration.values import MAX_LIST, FeatureError

Kind = Literal["dense", "categorical", "multi", "location"]
Via = Literal["match", "co_click", "similar_users"]
Negatives = Literal["impressions", "sampled"]
Role = Literal["", "advertiser", "campaign"]
BidType = Literal["CPM", "CPC", "CPA"]
PaidLabel = Literal["", "CPC", "CPA"]

ITEM_ID = "ad_id"
"""Name by which key families use the item's own id as a field."""

TAKEN = ("user_id", "ad_id", "history", "timestamp", "targeting", "bid", "bid_type")
"""Names reserved for columns of the log; fields, tasks and key families cannot have them."""


@dataclass(frozen=True)
class FieldSpec:
    """One field of a user, an item or the context: `dense` float, `categorical` value, or `multi` (a list of values).

    A context field may also be a `location`: latitude and longitude, which only predicates read.
    `role` says that a categorical item field names who pays for the ad; each role is given once. `model` says that the
    model reads a categorical context field, which is then a column of the events. With `serve_as` it only shifts the
    logits, as the position of an ad does, and answers are given as if the field had this value. `optional` says that
    values of a dense field may be missing: the mean stands in for them, and the tower is told so by a flag. Values of
    other kinds may always be missing.
    """

    name: str
    kind: Kind
    role: Role = ""
    model: bool = False
    serve_as: str = ""
    optional: bool = False


@dataclass(frozen=True)
class KeyFamily:
    """One family of interaction features (Section 2, I2IF): a user's keys against an inverted index of items.

    `match` looks up the value of `item_field` of each history item; with `user_field` it looks up the values of that
    field of the user instead, which are compared as text. `co_click` replaces the value of each history item by the
    `neighbours` values that other users clicked together with it, weighted by c_ab / sqrt(c_a c_b), or with `ad_id`
    by up to twice as many items that it speaks for, weighted by a regression (docs/decisions/0055). `similar_users`
    looks up the items of the `neighbours` users whose clicks are most like the history, weighted by their similarity.
    `item_field` may be `ad_id`, and is with `similar_users`.
    """

    name: str
    item_field: str
    via: Via
    neighbours: int = 0
    user_field: str = ""


@dataclass(frozen=True)
class TaskSpec:
    """One label column of the log and its weight in the loss (w_t of Equation 2).

    `bid_type` says that bids of this type pay for the label; each type is given once. CPM bids pay for impressions.
    `windows` are attribution windows in hours, ascending, of a label that comes late: the label is whether it came
    within the longest one. `time` names the column of the events with the time at which it came.
    """

    name: str
    weight: float = 1.0
    bid_type: PaidLabel = ""
    windows: tuple[float, ...] = ()
    time: str = ""


@dataclass(frozen=True)
class FeatureSpec:
    """The declaration in `features.json`, passed from the log through training into the bundle.

    Attributes:
        user_fields, item_fields: columns of the two tables, besides the ids.
        tasks: label columns of the events; the first ranks unless a request gives other weights.
        negatives: `impressions` if the log holds impressions without a label, `sampled` if it holds positives only.
        key_families: interaction features.
        history_length: number of a user's most recent clicked items that the user tower reads. Interaction features
            read all of them, up to MAX_LIST.
        history_ordered: whether timestamps order the history; otherwise recency features are left out.
        context_fields: values of the moment of a request, such as device or inventory; predicates read them, and the
            model those with `model`.
        exclude_history: whether a request that does not say leaves out the ads of the user's history.
        user_ids: whether ids stand for people; false for a log without, each of whose events has a user of its own, so
            that nobody has a history.
    """

    user_fields: tuple[FieldSpec, ...]
    item_fields: tuple[FieldSpec, ...]
    tasks: tuple[TaskSpec, ...]
    negatives: Negatives
    key_families: tuple[KeyFamily, ...]
    history_length: int = 50
    history_ordered: bool = True
    context_fields: tuple[FieldSpec, ...] = ()
    exclude_history: bool = False
    user_ids: bool = True

    def __post_init__(self) -> None:
        names = [f.name for f in self.item_fields]
        for kind, group in (("user or context field", self.user_fields + self.context_fields),
                            ("item field", self.item_fields), ("task", self.tasks),
                            ("key family", self.key_families)):
            seen = [entry.name for entry in group]
            for name in seen:
                if seen.count(name) > 1:
                    raise FeatureError(name, f"{kind} {name!r} is declared twice", "names must differ")
                if not name.isidentifier() or name in TAKEN:
                    raise FeatureError(name, f"{kind} {name!r} is not a usable name",
                                       f"use letters, digits and _; {', '.join(TAKEN)} are taken")
        for entry in (*self.user_fields, *self.item_fields, *self.context_fields):
            if entry.kind not in get_args(Kind):
                raise FeatureError(entry.name, f"kind {entry.kind!r} of {entry.name!r} is unknown",
                                   f"{suggestion(entry.kind, get_args(Kind))}use one of {', '.join(get_args(Kind))}")
        for entry in (*self.user_fields, *self.item_fields):
            if entry.kind == "location":
                raise FeatureError(entry.name, f"{entry.name!r} is a location, but not a context field",
                                   "declare it in context_fields: a position belongs to the moment of a request")
        if not self.key_families:
            raise FeatureError("key_families", "no key family is declared",
                               'name at least one, such as {"name": "same_ad", "item_field": "ad_id", "via": "match"}')
        if not self.tasks:
            raise FeatureError("tasks", "no task is declared", "name at least one label column")
        if self.negatives not in get_args(Negatives):
            raise FeatureError("negatives", f"negatives {self.negatives!r} is unknown",
                               f"{suggestion(self.negatives, get_args(Negatives))}use one of "
                               f"{', '.join(get_args(Negatives))}")
        if not 0 < self.history_length <= MAX_LIST:
            raise FeatureError("history_length", f"history_length {self.history_length} is outside 1..{MAX_LIST}",
                               "give a number in this range")
        for task in self.tasks:
            if not (math.isfinite(task.weight) and task.weight >= 0):
                raise FeatureError(task.name, f"weight {task.weight} of task {task.name!r} is not a number >= 0",
                                   "give a finite number of at least 0")
        self._check_payment()
        check_context_fields(self)
        check_label_windows(self)
        for entry in (*self.user_fields, *self.item_fields, *self.context_fields):
            if entry.optional and (entry.kind != "dense" or entry in self.context_fields):
                raise FeatureError(entry.name, f"optional is given to {entry.name!r}, which is not a dense field of "
                                               "users or ads", "leave it out: others may always be missing")
        dense = {f.name for f in self.item_fields if f.kind == "dense"}
        for family in self.key_families:
            if family.via not in get_args(Via):
                raise FeatureError(family.name, f"via {family.via!r} of key family {family.name!r} is unknown",
                                   f"{suggestion(family.via, get_args(Via))}use one of {', '.join(get_args(Via))}")
            if family.item_field != ITEM_ID and (family.item_field not in names or family.item_field in dense):
                usable = [ITEM_ID, *(n for n in names if n not in dense)]
                raise FeatureError(family.name, f"key family {family.name!r} uses {family.item_field!r}, which is "
                                                "not a categorical or multi item field",
                                   f"{suggestion(family.item_field, usable)}use one of {', '.join(usable)}")
            known = [f.name for f in self.user_fields if f.kind != "dense"]
            if family.user_field and (family.user_field not in known or family.via != "match"):
                raise FeatureError(family.name, f"key family {family.name!r} is via {family.via!r} with user_field "
                                                f"{family.user_field!r}",
                                   f"{suggestion(family.user_field, known)}only match takes one, of "
                                   f"{', '.join(known) or '(there are none)'}")
            if (family.via == "match") != (family.neighbours <= 0):
                raise FeatureError(family.name, f"key family {family.name!r} is via {family.via!r} with neighbours "
                                                f"{family.neighbours}",
                                   "co_click and similar_users need at least 1, match none")
            if family.via == "similar_users" and family.item_field != ITEM_ID:
                raise FeatureError(family.name, f"key family {family.name!r} is via similar_users with item_field "
                                                f"{family.item_field!r}", f"similar users have items; use {ITEM_ID}")

    def _check_payment(self) -> None:
        """Raises FeatureError if roles or bid types are unknown, misplaced or given twice."""
        for group, key, choices in ((self.item_fields, "role", get_args(Role)), (self.tasks, "bid_type",
                                                                                 get_args(PaidLabel))):
            owners: dict[str, str] = {"": ""}
            for entry in group:
                value = getattr(entry, key)
                if value not in choices:
                    raise FeatureError(entry.name, f"{key} {value!r} of {entry.name!r} is unknown",
                                       f"use one of {', '.join(choices[1:])}, or leave it out")
                if value and owners.setdefault(value, entry.name) != entry.name:
                    raise FeatureError(entry.name, f"{key} {value!r} is given to {owners[value]!r} and {entry.name!r}",
                                       "give it once")
        for entry in (*self.user_fields, *self.item_fields, *self.context_fields):
            if entry.role and (entry not in self.item_fields or entry.kind != "categorical"):
                raise FeatureError(entry.name, f"role {entry.role!r} is given to {entry.name!r}, which is not a "
                                               "categorical item field", "give it to one, or leave it out")

    @property
    def roles(self) -> dict[str, str]:
        """Role -> the item field that has it."""
        return {f.role: f.name for f in self.item_fields if f.role}

    @property
    def paid(self) -> dict[BidType, int | None]:
        """Bid type -> number of the task that bids of this type pay for; None for CPM, which pays for impressions."""
        paid: dict[BidType, int | None] = {"CPM": None}
        return paid | {task.bid_type: at for at, task in enumerate(self.tasks) if task.bid_type}

    def fields(self, side: Literal["user", "item"], kind: Kind) -> list[str]:
        """Names of the fields of one kind, in declaration order."""
        group = self.user_fields if side == "user" else self.item_fields
        return [f.name for f in group if f.kind == kind]

    def optional_columns(self, side: Literal["user", "item"]) -> list[int]:
        """Which of the dense fields of one side may be missing, by their number among the dense fields."""
        group = self.user_fields if side == "user" else self.item_fields
        return [at for at, f in enumerate(f for f in group if f.kind == "dense") if f.optional]

    @property
    def model_context(self) -> tuple[FieldSpec, ...]:
        """The context fields that the model reads."""
        return tuple(f for f in self.context_fields if f.model)

    @property
    def window_heads(self) -> tuple[int, ...]:
        """The task (its number) of each further logit that training has: one a window but the longest, task by task."""
        return tuple(at for at, task in enumerate(self.tasks) for _ in task.windows[1:])

    @property
    def served(self) -> FeatureSpec:
        """The declaration as a bundle holds it: without windows, which only training reads."""
        return replace(self, tasks=tuple(replace(task, windows=(), time="") for task in self.tasks))

    @property
    def audience_kinds(self) -> dict[str, Kind]:
        """Kinds of the fields that ads' predicates may read: user fields and context fields."""
        return {f.name: f.kind for f in (*self.user_fields, *self.context_fields)}

    @property
    def ad_kinds(self) -> dict[str, Kind]:
        """Kinds of the fields that requests' predicates may read: item fields, and the ad's id."""
        id_kind: dict[str, Kind] = {ITEM_ID: "categorical"}
        return id_kind | {f.name: f.kind for f in self.item_fields}

    def to_json(self) -> dict[str, Any]:
        """The declaration as JSON; newer keys only if they are set, so that older versions read all others."""
        declared = asdict(self)
        if not self.exclude_history:
            del declared["exclude_history"]
        if self.user_ids:
            del declared["user_ids"]
        for entry in (*declared["user_fields"], *declared["item_fields"], *declared["context_fields"]):
            for name in ("model", "serve_as", "optional"):
                if not entry[name]:
                    del entry[name]
        for task in declared["tasks"]:
            for name in ("windows", "time"):
                if not task[name]:
                    del task[name]
        return declared

    @classmethod
    def from_json(cls, data: object) -> FeatureSpec:
        """Reads a declaration from decoded JSON.

        Raises:
            FeatureError: a key is missing or unknown, or its value is invalid.
        """
        return read_declaration(cls, data)
