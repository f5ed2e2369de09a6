"""``python -m modelscope_ext`` is the command line."""

from __future__ import annotations

import os
import sys

# `-m` puts the working directory first on sys.path: inside a model's folder its json.py would be ours.
if sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
    del sys.path[0]

from modelscope_ext.cli import main

if __name__ == "__main__":
    sys.exit(main())
