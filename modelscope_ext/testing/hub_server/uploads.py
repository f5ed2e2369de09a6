"""Git LFS uploads, which Hugging Face and ModelScope share."""

from __future__ import annotations

from typing import Any

from modelscope_ext.testing.hub_server.content import Data
from modelscope_ext.testing.hub_server.exchange import Call, Reply

__all__ = ["batch", "lines", "receive"]


def lines(call: Call) -> list[dict[str, Any]]:
    """Return where each object that the store lacks has to be put."""
    found = []
    for asked in call.json()["objects"]:
        line: dict[str, Any] = {"oid": asked["oid"], "size": asked["size"]}
        if call.server.store.blob(asked["oid"]) is None:
            line["actions"] = {"upload": {"href": f"{call.base}/upload/{asked['oid']}"}}
        found.append(line)
    return found


def batch(call: Call) -> Reply:
    """Answer Git LFS's batch request."""
    return Reply.of({"transfer": "basic", "objects": lines(call)})


def receive(call: Call) -> Reply:
    """Take an object that a batch request announced."""
    data = Data(call.body)
    if data.sha256 != call.parts["sha256"]:
        return Reply.of({"error": "the bytes are not those that were announced"}, 400)
    call.server.store.uploads[data.sha256] = data
    return Reply.of({})
