"""The application for Ray Serve: a deployment for each shard, `shard-0` and on, and one of roots.

    serve run service.cluster.serve_app:build bundles=/bundles host=0.0.0.0      or docker/k8s-cluster/rayservice.yaml

Ray is imported when the application is built: nothing else of the service needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles
from index_store.bundle.manifest import BundleError
from index_store.bundle.pointer import served_bundle
from index_store.bundle.shard_map import ShardMap
from service.cluster.replica_range import ReplicaRange, parse_replicas
from service.cluster.root_replica import RootReplica
from service.cluster.shard_replica import ShardReplica
from service.cluster.shard_scaling import replica_options

if TYPE_CHECKING:
    from ray.serve import Application

_HEALTH_SECONDS = 1.0
"""Between two looks at a replica; after three that fail, Serve replaces it. One that is gone it replaces at once."""

_DRAIN_SECONDS = 30.0
"""For roots to close their connections to a replica that Serve takes away; they do in about one."""

_STOP_SECONDS = 40.0
"""After which Serve ends it in any case: its own two seconds, the drain, and slack."""


class ClusterArgs(BaseModel):
    """What is run, see docs/cluster.md."""

    model_config = ConfigDict(extra="forbid")

    bundles: str = Field(description="folder of roots with a pointer, the same on all nodes, or one root")
    host: str = Field(default="127.0.0.1", description="address that roots listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="port that roots listen on")
    roots: int = Field(default=1, ge=1, description="replicas of the root, at most one on a node")
    replicas: Annotated[ReplicaRange, BeforeValidator(parse_replicas)] = Field(
        default=ReplicaRange(1, 1), description="replicas of each shard: a number, or a range in which they follow "
        "its load")
    root_resource: str = Field(default="", description="custom resource of the nodes that may run roots; empty for all")
    root_cpus: float = Field(default=1.0, gt=0, description="cores that Ray reserves for a root")
    shard_cpus: float = Field(default=1.0, gt=0, description="cores that Ray reserves for a replica of a shard")


def build(args: ClusterArgs) -> Application:
    """The application.

    Raises:
        BundleError: the bundle that is served is no root, or broken.
        PointerError: there is no pointer.
    """
    from ray import serve

    count = shards_of(Path(args.bundles))
    shards = [serve.deployment(_ShardOfNode).options(
        name=f"shard-{number}", ray_actor_options={"num_cpus": args.shard_cpus},
        health_check_period_s=_HEALTH_SECONDS, graceful_shutdown_timeout_s=_STOP_SECONDS,
        logging_config={"enable_access_log": False}, **replica_options(args.replicas),
    ).bind(args.bundles, number) for number in range(count)]
    return serve.deployment(RootReplica).options(
        name="root", num_replicas=args.roots, max_replicas_per_node=1,
        ray_actor_options={"num_cpus": args.root_cpus,
                           "resources": {args.root_resource: 1.0} if args.root_resource else {}},
        health_check_period_s=_HEALTH_SECONDS, logging_config={"enable_access_log": False},
    ).bind(args.bundles, (args.host, args.port), shards)


def shards_of(bundles: Path) -> int:
    """The number of shards of the root that is served.

    Raises:
        BundleError: it is no root, or broken.
        PointerError: there is no pointer.
    """
    folder = served_bundle(bundles)
    files = BundleFiles(folder, verify=False)
    shards = ShardMap.read(files, files.manifest.counts["items"])
    if shards is None:
        raise BundleError(folder, layout.SHARDS, "is missing, so this bundle is not sharded",
                          "shard it with `python -m index_store shard`, or serve it with `python -m service`")
    return len(shards)


class _ShardOfNode(ShardReplica):
    """Listens on the address of its node, and ends when roots have left it."""

    def __init__(self, bundles: str, number: int) -> None:
        import ray

        self._begun = False
        super().__init__(bundles, number, ray.util.get_node_ip_address())
        self._begun = True

    def __del__(self) -> None:
        """Serve calls this when it stops the replica."""
        if self._begun:
            self._begun = False  # Python calls it again, when the object goes
            self.drain(_DRAIN_SECONDS)
