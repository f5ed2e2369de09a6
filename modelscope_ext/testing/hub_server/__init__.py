"""A hub server for tests: local folders as Hugging Face, ModelScope and Modelers, with faults on demand.

It runs in the threads of this process, or by itself (``python -m modelscope_ext.testing.hub_server``), listens on
127.0.0.1 alone, and is what the official clients take for their hubs.

Example:
    >>> from modelscope_ext.testing.hub_server import Generated, HubServer
    >>> with HubServer(hubs=["huggingface", "modelscope"]) as server:
    ...     _ = server.add("org/model", {"config.json": "{}", "model.safetensors": Generated(2_000_000_000)})
    ...     _ = server.faults.cut(1_000_000, path="*.safetensors", times=1)
    ...     sorted(server.environment("modelscope"))
    ['MODELSCOPE_DOWNLOAD_INTRA_CLOUD', 'MODELSCOPE_ENDPOINT', 'NO_PROXY', 'no_proxy']
"""

from __future__ import annotations

from modelscope_ext.testing.hub_server.content import Content, Generated
from modelscope_ext.testing.hub_server.exchange import Request
from modelscope_ext.testing.hub_server.faults import HOSTILE_NAMES, Fault, Faults
from modelscope_ext.testing.hub_server.server import HubServer

__all__ = ["HOSTILE_NAMES", "Content", "Fault", "Faults", "Generated", "HubServer", "Request"]
