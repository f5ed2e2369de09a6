"""The logger is made when somebody asks for it; who waits for it is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from modelscope_ext.utils import logger as module


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_who_waits_is_told_once_and_who_no_longer_does_is_not():
    code = (
        "import sys; from modelscope_ext.utils import logger as module\n"
        "told = []; module.when_made(told.append); module.when_made(print); module.no_longer(print)\n"
        "assert not told and 'logging' not in sys.modules\n"
        "from modelscope_ext.utils.logger import logger; import logging\n"
        "assert told == [logger] == [logging.getLogger('modelscope_ext')] and module.logger is logger\n"
        "module.when_made(told.append); assert told == [logger] * 2 and len(logger.handlers) == 1"
    )
    assert run(code) == ""


def test_a_warning_of_a_short_command_reaches_its_stderr():
    code = (
        "import sys; from modelscope_ext.cli.output import Output\n"
        "with Output() as output:\n"
        "    output.show_logs(); assert 'logging' not in sys.modules\n"
        "    from modelscope_ext.utils.logger import logger; logger.warning('heard'); logger.info('not shown')\n"
        "logger.warning('after the end')"
    )
    assert run(code) == "WARNING: heard\n"


def test_nothing_else_is_made():
    with pytest.raises(AttributeError, match="no attribute 'module_of'"):
        _ = module.module_of
