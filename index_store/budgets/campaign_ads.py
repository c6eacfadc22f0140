"""Campaign ads: which campaign each ad belongs to, by number."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from index_store.declaration.values import as_key
from index_store.features.encoder import UNKNOWN, FeatureEncoder, Features

ROLE = "campaign"
"""Role of the ad field that names the campaign."""

NO_CAMPAIGN = UNKNOWN
"""Number of an ad without a campaign."""


class CampaignNumbers:
    """Numbers for campaigns: those that the bundle knows have their vocabulary ids; there are only ever more.

    Threads may share it.
    """

    def __init__(self, known: NDArray[np.bytes_]) -> None:
        self._names = ["", *(name.decode() for name in known.tolist())]
        self._numbers = {name: number for number, name in enumerate(self._names) if name}
        self._adding = threading.Lock()

    def __len__(self) -> int:
        return len(self._names)

    def number(self, name: str) -> int:
        """The number of a campaign, a new one if it has none."""
        found = self._numbers.get(name)
        if found is not None:
            return found
        with self._adding:
            if name not in self._numbers:
                self._names.append(name)
                self._numbers[name] = len(self._names) - 1
            return self._numbers[name]

    def name(self, number: int) -> str:
        """The campaign of a number other than NO_CAMPAIGN."""
        return str(self._names[number])


@dataclass(frozen=True, eq=False, kw_only=True)
class CampaignAds:
    """The campaigns of all ads of one moment.

    Attributes:
        ad_field: of the ads, which names the campaign.
        of_tree: (n_items,) int32 numbers by position.
        of_added: (J,) int32 numbers of the ads beyond the tree.
        numbers: of the campaigns.
    """

    ad_field: str
    of_tree: NDArray[np.int32]
    of_added: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    numbers: CampaignNumbers

    @classmethod
    def of(cls, encoder: FeatureEncoder, items: Features, rows: NDArray[np.integer]) -> Self | None:
        """Those of a bundle; None if it declares no field of that role.

        Args:
            encoder, items: of the bundle.
            rows: (n_items,) item row of each position.
        """
        name = encoder.spec.roles.get(ROLE)
        if name is None:
            return None
        column = encoder.spec.fields("item", "categorical").index(name)
        return cls(ad_field=name, of_tree=items.categorical[:, column][rows],
                   numbers=CampaignNumbers(encoder.vocabularies[f"item.{name}"]))

    def number_of(self, features: Mapping[str, Any]) -> int:
        """The number of the campaign that the features of an ad name, as a caller has sent them."""
        value = features.get(self.ad_field)
        return NO_CAMPAIGN if value is None else self.numbers.number(as_key(value, self.ad_field).decode())

    def at(self, position: int) -> int:
        """The number of the campaign of the ad at a position, which may lie beyond the tree."""
        beyond = position - len(self.of_tree)
        return int(self.of_tree[position] if beyond < 0 else self.of_added[beyond])

    def name_at(self, position: int) -> str | None:
        """The campaign of the ad at a position; None for none."""
        number = self.at(position)
        return None if number == NO_CAMPAIGN else self.numbers.name(number)

    def positions(self, name: str) -> NDArray[np.int64]:
        """Positions of the ads of a campaign, those beyond the tree last, whether or not they may be returned."""
        number = self.numbers.number(name)
        return np.concatenate([np.flatnonzero(self.of_tree == number),
                               len(self.of_tree) + np.flatnonzero(self.of_added == number)])

    def changed(self, positions: Mapping[int, int], added: NDArray[np.int32]) -> Self:
        """With other numbers of some ads of the tree, and those of all ads beyond it."""
        of_tree = self.of_tree
        if positions:
            of_tree = of_tree.copy()
            of_tree[list(positions)] = list(positions.values())
        if of_tree is self.of_tree and np.array_equal(added, self.of_added):
            return self
        return replace(self, of_tree=of_tree, of_added=added)
