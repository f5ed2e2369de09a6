"""A page to try a model: what its task takes, what it gives, and why the model was taken for that.

It runs on this machine alone, with nothing from the web: fonts, scripts and pictures come with Gradio.

Example::

    from modelscope_ext import pipeline
    from modelscope_ext.web import launch

    launch(pipeline(model="./digits"))
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

__all__ = ["launch"]


def launch(
    pipe: Any, *, host: str = "127.0.0.1", port: int = 7860, ready: Callable[[str], None] | None = None, **settings: Any
) -> None:
    """Show the page of a pipeline until the process is interrupted.

    Args:
        pipe: The pipeline; it stays the caller's.
        host: The address to listen at. Others who can reach it can use the model: there is no key.
        port: 0 for any free one.
        ready: Called with the address when the page can be opened.
        **settings: Fields of `modelscope_ext.serve.Settings` that bound an input.

    Raises:
        OptionError: A task whose inputs nobody describes, or a setting nobody knows.
        MissingRequirement: Gradio is not installed.
        OSError: The address cannot be listened at.
    """
    from modelscope_ext.serve import settings_of
    from modelscope_ext.serve.needs import require
    from modelscope_ext.serve.server import listen

    require("gradio", extra="web")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    with listen(host, port) as found:  # so that a port in use is said as everywhere
        port = found.getsockname()[1]
    from modelscope_ext.web.page import build

    blocks, look = build(pipe, settings_of(settings))
    blocks.queue(default_concurrency_limit=1, max_size=64)
    _, address, _ = blocks.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        max_file_size="64mb",
        **look,
    )
    try:
        if ready is not None:
            ready(address.rstrip("/"))
        blocks.block_thread()
    finally:
        blocks.close(verbose=False)
