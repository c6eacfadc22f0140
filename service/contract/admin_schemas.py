"""Bodies of the admin calls, with the same rules as in `schemas`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from service.contract.trial_schemas import TrialsState


class LoadRequest(BaseModel):
    """Body of POST /admin/bundles/load."""

    model_config = ConfigDict(extra="forbid", strict=True)

    bundle: str = Field(description="name of the bundle's folder beside the pointer, as GET /admin/bundles lists it")
    force: bool = Field(default=False, description="load it even if it is worse than the current one; a broken bundle "
                                                   "is still refused")


class StoredBundle(BaseModel):
    """A bundle beside the pointer."""

    model_config = ConfigDict(extra="forbid")

    bundle: str = Field(description="name of its folder")
    bundle_id: str | None = Field(description="null where the manifest cannot be read")
    created_at: str | None
    problem: str | None = Field(description="why it could not be served, as far as manifest and file sizes tell")


class WorkerBundle(BaseModel):
    """What one worker serves."""

    model_config = ConfigDict(extra="forbid")

    worker_id: int = Field(description="its process id")
    bundle: str | None = Field(description="null before it is ready")
    bundle_id: str | None
    problem: str | None = Field(description="why it does not serve the bundle that it was assigned")
    canary: str | None = Field(description="the bundle that answers a share of the users in this worker")
    shadow: str | None = Field(description="the bundle that its answers are compared with")


class BundlesReply(TrialsState):
    """Answer of GET /admin/bundles."""

    current: str | None = Field(description="the bundle that the pointer names; null where it cannot be read")
    previous: str | None = Field(description="the one before it, to which a rollback goes")
    problem: str | None = Field(description="why this replica does not serve what the pointer names")
    loading: str | None = Field(description="the bundle that is being checked")
    bundles: list[StoredBundle]
    workers: list[WorkerBundle] = Field(description="of this replica")


class LoadReply(BaseModel):
    """Answer of POST /admin/bundles/load and /admin/bundles/rollback: every worker of this replica serves it."""

    model_config = ConfigDict(extra="forbid")

    bundle: str
    bundle_id: str
    previous: str | None = Field(description="to which a rollback goes")
    seconds: float = Field(description="from the call to the last worker's report")
    comparison: str | None = Field(description="measures of this bundle and the one before, as a table; null for a "
                                               "rollback, and with force")
    workers: list[WorkerBundle]
