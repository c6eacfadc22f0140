"""The catalogue as acknowledged writes have made it: draws changes, and knows what each ad was at any time."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from index_store.bundle.bundle import BundleContent
from loadtest.bench.added import raw_features

NOBODY: dict[str, Any] = {"any": []}
"""A predicate that holds for no user."""


@dataclass(frozen=True)
class Change:
    """A change to make.

    Attributes:
        line: of POST /ads:batch, or of POST /events.
        shown: whether the ad may be in answers after it; None if it changes no ad.
    """

    line: dict[str, Any]
    shown: bool | None

    @property
    def path(self) -> str:
        """Where the line is sent to."""
        return "/events" if self.shown is None else "/ads:batch"


class Catalogue:
    """The ads of a bundle, and those that are added.

    Args:
        content: of the bundle, which has users.
        random: draws the changes.

    Attributes:
        added: ids of new ads, in the order in which they were drawn.
    """

    def __init__(self, content: BundleContent, random: np.random.Generator) -> None:
        self._content, self._random = content, random
        self._state: dict[str, tuple[bool, bool, bool]] = {}  # ad -> is there, active, has an audience
        self._history: dict[str, tuple[list[int], list[bool]]] = defaultdict(lambda: ([], []))
        self.added: list[str] = []

    def draw(self, kind: str) -> Change:
        """A change of one of KINDS to an ad that is there; it counts as made."""
        return KINDS[kind](self)

    def acknowledged(self, change: Change, sequence: int) -> None:
        """Notes the number of a change in the log."""
        if change.shown is not None:
            sequences, shown = self._history[change.line["ad_id"]]
            sequences.append(sequence)
            shown.append(change.shown)

    def hidden(self, ad: str, as_of: int) -> bool:
        """Whether an ad must not be in an answer as of a change."""
        sequences, shown = self._history.get(ad, ((), ()))
        last = bisect_right(sequences, as_of) - 1
        return last >= 0 and not shown[last]

    def _pause(self) -> Change:
        """Pauses an ad, or resumes a paused one."""
        ad, (_, active, audience) = self._one()
        return self._made(ad, not active, audience, op="patch", status="paused" if active else "active")

    def _retarget(self) -> Change:
        """Takes the audience of an ad away, or gives it back."""
        ad, (_, active, audience) = self._one()
        return self._made(ad, active, not audience, op="patch", targeting=NOBODY if audience else None)

    def _add(self) -> Change:
        """Adds an ad with the features of one of the bundle's."""
        row = int(self._random.integers(self._content.tree.n_items))
        self.added.append(f"new-{len(self.added)}")
        return self._made(self.added[-1], True, True, op="put", features=raw_features(self._content, row))

    def _delete(self) -> Change:
        """Deletes an ad."""
        ad, _ = self._one()
        self._state[ad] = False, False, False
        return Change({"op": "delete", "ad_id": ad}, shown=False)

    def _click(self) -> Change:
        """A user of the bundle clicks on an ad."""
        user = self._random.choice(self._content.users.ids).decode()
        return Change({"user_id": user, "ad_id": self._one()[0], "type": "click"}, shown=None)

    def _one(self) -> tuple[str, tuple[bool, bool, bool]]:
        """An ad that was not deleted, and its state."""
        n_items = self._content.tree.n_items
        while True:
            number = int(self._random.integers(n_items + len(self.added)))
            ad = (self._content.encoder.item_ids[number].decode() if number < n_items
                  else self.added[number - n_items])
            state = self._state.get(ad, (True, True, True))
            if state[0]:
                return ad, state

    def _made(self, ad: str, active: bool, audience: bool, **line: Any) -> Change:
        self._state[ad] = True, active, audience
        return Change({"ad_id": ad, **line}, shown=active and audience)


KINDS: dict[str, Callable[[Catalogue], Change]] = {
    "pause": Catalogue._pause, "retarget": Catalogue._retarget, "add": Catalogue._add, "delete": Catalogue._delete,
    "click": Catalogue._click}
"""Kinds of changes: an ad is paused or resumed, loses its audience or gets it back, is added, is deleted; a click."""
