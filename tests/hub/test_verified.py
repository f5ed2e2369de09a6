"""What is remembered of verified files, and when it no longer counts."""

from __future__ import annotations

import hashlib
import json
import os
import time

import pytest

from modelscope_ext.hub import verified as module
from modelscope_ext.hub.protocol import HubFile
from modelscope_ext.hub.verified import Verified

BODY = b"weights"
FILE = HubFile("model.bin", len(BODY), hashlib.sha256(BODY).hexdigest())


@pytest.fixture
def path(tmp_path):
    (tmp_path / "model.bin").write_bytes(BODY)
    return tmp_path / "model.bin"


@pytest.fixture
def boot(monkeypatch):
    def set_to(name):
        monkeypatch.setattr(module, "this_boot", lambda: name)

    set_to("one")
    return set_to


def noted(path, **options):
    notes = Verified(path.parent / "notes")
    notes.note(path, FILE, **options)
    notes.save()
    return path.parent / "notes"


@pytest.mark.parametrize("change", [lambda p: p.write_bytes(b"WEIGHTS"), lambda p: os.utime(p, (1, 1)), os.unlink])
def test_any_change_makes_a_file_unknown(path, change):
    notes = noted(path)
    assert Verified(notes).holds(path, FILE)
    change(path)
    assert not Verified(notes).holds(path, FILE)


def test_what_was_new_when_the_machine_crashed_is_looked_at_again(path, boot):
    notes = noted(path, new=True)
    assert Verified(notes).holds(path, FILE)
    boot("two")
    assert not Verified(notes).holds(path, FILE)


def test_what_was_read_from_the_disk_counts_for_good(path, boot):
    notes = noted(path)
    boot("two")
    assert Verified(notes).holds(path, FILE)


def test_after_a_minute_it_is_made_sure_that_a_file_is_on_the_disk(path, boot):
    notes = noted(path, new=True)
    early = Verified(notes)
    assert early.holds(path, FILE)
    early.save()
    boot("two")
    assert not Verified(notes).holds(path, FILE)

    boot("one")
    os.utime(path, (time.time() - 100,) * 2)
    later = Verified(noted(path, new=True))
    assert later.holds(path, FILE)
    later.save()
    boot("two")
    assert Verified(notes).holds(path, FILE)


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"model.bin": 3}), "[" * 100_000])
def test_notes_that_cannot_be_read_are_no_notes(path, text):
    notes = noted(path)
    (notes / "verified.json").write_text(text)
    assert not Verified(notes).holds(path, FILE)


def test_a_system_that_does_not_say_when_it_started(path, boot):
    boot(None)
    notes = noted(path, new=True)
    assert Verified(notes).holds(path, FILE)
