"""One reader under atheris: ``python -m tests.fuzz.run READER CORPUS [libFuzzer's options]``. It does not return."""

from __future__ import annotations

import sys


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["modelscope_ext"]):
        from tests.fuzz.readers import try_one

    name, *rest = sys.argv[1:]
    atheris.Setup([sys.argv[0], *rest], lambda data: try_one(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
