"""Live budgets: the campaigns of one moment, what they spent, and how they are paced. Never changed itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from index_store.budgets.campaign import Campaign
from index_store.budgets.ledger import Ledger, LedgerWriter
from index_store.budgets.local_days import day_of
from index_store.budgets.pacing import Pacing, PacingWriter
from index_store.changes.change_log import Change, Kind
from index_store.changes.records import AT, CAMPAIGN, SPENT


@dataclass(frozen=True, eq=False, kw_only=True)
class LiveBudgets:
    """What the change log says about campaigns until one of its entries.

    Attributes:
        declared: id -> campaign.
        ledger: what was spent.
        pacing: of the campaigns that have budgets.
    """

    declared: Mapping[str, Campaign] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    pacing: Pacing = field(default_factory=Pacing)

    def with_changes(self, changes: Iterable[Change]) -> Self:
        """The campaigns after some changes, in the order of the log; those of ads and users are left out.

        The same changes have the same outcome, however they are divided among calls.
        """
        ledger = LedgerWriter(self.ledger)
        pacing, declared = PacingWriter(self.pacing, ledger), self.declared
        touched = False
        for change in changes:
            fields = change.fields
            if change.kind in (Kind.EVENT, Kind.ERASED) and CAMPAIGN in fields:
                pacing.reach(change.at)
                nanos, at = fields.get(SPENT, 0), fields.get(AT, change.at)
                ledger.add(fields[CAMPAIGN], nanos, at, change.at)
                pacing.spend(fields[CAMPAIGN], nanos, at)
                touched = True
            elif change.kind is Kind.CAMPAIGN:
                pacing.reach(change.at)
                campaign = Campaign.of_fields(fields)
                declared = {**declared, change.id: campaign}
                pacing.declare(change.id, campaign)
                touched = True
        return type(self)(declared=declared, ledger=ledger.now, pacing=pacing.now) if touched else self

    @property
    def currency(self) -> tuple[str, str] | None:
        """The currency of the index, and a campaign that has it; None before the first campaign."""
        return next(((campaign.currency, name) for name, campaign in self.declared.items()), None)

    def spent_today(self, name: str, at: float) -> int:
        """Nanos that a campaign has spent in its local day of a time; that of UTC for one that is not declared."""
        campaign = self.declared.get(name)
        return self.ledger.between(name, *day_of(at, "UTC" if campaign is None else campaign.time_zone))
