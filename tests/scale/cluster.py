"""A Ray cluster of two nodes on this machine, in a process of its own: ``python -m tests.scale.cluster``.

It prints the address; ``node`` on its stdin kills the second node and everything on it, ``workers`` prints the ids of
the processes of actors, and the end of stdin ends it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Start the cluster and do what is asked."""
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 2, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    second = cluster.add_node(**size)
    try:
        cluster.wait_for_nodes()
        answer({"address": cluster.address})
        for line in sys.stdin:
            if line.strip() == "node":
                cluster.remove_node(second, allow_graceful=False)
                answer({"killed": True})
            if line.strip() == "workers":
                answer({"workers": workers(cluster)})
    finally:
        cluster.shutdown()


def answer(value: object) -> None:
    print(json.dumps(value), flush=True)


def workers(cluster: object) -> list[int]:
    """Return the processes of actors, which are children of the raylets of this cluster."""
    nodes = [node for node in cluster.list_all_nodes() if node.all_processes.get("raylet")]  # type: ignore[attr-defined]
    raylets = {node.all_processes["raylet"][0].process.pid for node in nodes}
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and b"_Actor" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return found


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
