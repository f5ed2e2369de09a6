from __future__ import annotations

import socket

import pytest

from tests.reference import reference


def test_answers_travel_as_json_and_numpy_becomes_lists():
    assert reference("import numpy as np\nresult = {'a': np.arange(3), 'b': np.float32(0.5)}") == {
        "a": [0, 1, 2],
        "b": 0.5,
    }


def test_each_script_has_a_fresh_namespace_in_one_process():
    first = reference("import os\nkept = 1\nresult = os.getpid()")
    assert reference("import os\nresult = [os.getpid(), 'kept' in globals()]") == [first, False]
    assert reference("import os\nresult = os.getpid()", fresh=True) != first


def test_this_package_is_out_of_reach():
    with pytest.raises(RuntimeError, match="must not import modelscope_ext"):
        reference("import modelscope_ext\nresult = 1")
    assert reference("result = 2") == 2


def test_a_planted_module_is_found_out():
    with pytest.raises(RuntimeError, match="the reference imported"):
        reference("import sys, types\nsys.modules['modelscope_ext'] = types.ModuleType('x')\nresult = 1", fresh=True)


def test_sockets_are_blocked_here_and_there():
    with pytest.raises((RuntimeError, UserWarning), match="tried to use socket"):
        socket.socket(socket.AF_INET)
    with pytest.raises(RuntimeError, match="must not open a socket"):
        reference("import socket\nsocket.create_connection(('127.0.0.1', 9))")
