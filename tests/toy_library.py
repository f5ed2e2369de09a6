"""A library as backends meet them, small: it opens what it is told to, and its words have defaults."""

import json
from pathlib import Path


class Reader:
    @classmethod
    def from_pretrained(cls, place, trust_remote_code=None, local_files_only=False):
        path = Path(place, "toy.json")
        return json.loads(path.read_text()) if path.exists() else {}


def read(file, *, weights_only=False):
    return json.loads(Path(file).read_text())
