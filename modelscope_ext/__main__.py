"""``python -m modelscope_ext`` is the command line."""

from __future__ import annotations

import sys

from modelscope_ext.cli import main

if __name__ == "__main__":
    sys.exit(main())
