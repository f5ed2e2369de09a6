"""A change of the process that several threads share."""

import threading
from contextlib import contextmanager

import pytest

from modelscope_ext.utils.shared import Shared


class Process:
    """A setting that is saved and restored as libraries' settings are."""

    def __init__(self):
        self.setting, self.changes = "theirs", 0

    @contextmanager
    def silenced(self):
        before, self.setting = self.setting, "ours"
        self.changes += 1
        try:
            yield
        finally:
            self.setting = before


def test_the_last_thread_restores_in_whatever_order_they_leave():
    process = Process()
    shared = Shared(process.silenced)
    entered, first_left = threading.Event(), threading.Event()

    def second():
        with shared():
            entered.set()
            assert first_left.wait(10)
            seen.append(process.setting)

    seen = []
    thread = threading.Thread(target=second)
    with shared():
        thread.start()
        assert entered.wait(10)
    first_left.set()
    thread.join()
    assert (seen, process.setting, process.changes) == (["ours"], "theirs", 1)


def test_an_error_inside_restores():
    process = Process()
    shared = Shared(process.silenced)
    with pytest.raises(KeyError), shared():
        assert process.setting == "ours"
        raise KeyError
    assert process.setting == "theirs"


def test_what_cannot_be_entered_is_tried_again_by_the_next():
    process, failing = Process(), [ImportError("no library")]

    @contextmanager
    def silenced():
        if failing:
            raise failing.pop()
        with process.silenced():
            yield

    shared = Shared(silenced)
    with pytest.raises(ImportError), shared():
        pass
    with shared():
        assert process.setting == "ours"
    assert process.setting == "theirs"


def test_inside_itself():
    process = Process()
    shared = Shared(process.silenced)
    with shared():
        with shared():
            pass
        assert process.setting == "ours"
    assert (process.setting, process.changes) == ("theirs", 1)
