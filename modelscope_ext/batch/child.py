"""A Python process of our own beside this one, and a connection to it; it ends when this one does.

It starts from nothing but the interpreter, finds modules where this process does, and imports no `__main__`: a script
that runs a batch needs no guard. What it prints goes to stderr. Nothing is shared with it but what is sent.
"""

from __future__ import annotations

import os
import pickle  # nosec B403 # between this package's own processes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any

from modelscope_ext.errors import ModelScopeExtError
from modelscope_ext.utils.plugins import import_string
from modelscope_ext.utils.text import printable

__all__ = ["Child", "portable", "serve"]

#: What the interpreter is given: nothing is searched for in the working directory before the path is known.
_START = (
    "import sys; from multiprocessing.connection import Connection; c = Connection(int(sys.argv[1]));"
    " sys.path[:] = c.recv(); from modelscope_ext.batch.child import serve; serve(c)"
)


#: Seconds between the end of a process's connections and its own.
_GRACE = 10.0


class Child:
    """A process that runs `main(connection, *arguments)`.

    Args:
        main: ``"module:function"``.
        *arguments: What it is called with; they are pickled.
        environment: Variables that are set in it.

    Attributes:
        connection: To send to it and receive from it; EOFError there says that it has ended.
        process: To wait for.
    """

    def __init__(self, main: str, *arguments: Any, environment: Mapping[str, str] | None = None) -> None:
        self.connection, theirs = Pipe()
        handle = theirs.fileno()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, str(handle)],
                pass_fds=(handle,),
                stdin=subprocess.DEVNULL,
                stdout=2,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # an interrupt at the terminal is ours to pass on
            )
        finally:
            theirs.close()
        with suppress(OSError):  # it has ended: whoever receives will see
            self.connection.send(list(sys.path))
            self.connection.send((main, os.getpid(), pickle.dumps(arguments)))

    def end(self, *, ending: bool = False) -> str:
        """Kill it if it is alive, and say how it ended; of one that is `ending` by itself the end is waited for."""
        self.connection.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_GRACE if ending else 0)
        alive = self.process.returncode is None
        if alive:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        if alive:
            return "was stopped"
        return f"was killed by signal {-code}" if code < 0 else f"ended with {code}"


def serve(connection: Connection) -> None:
    """Run in a new process what the other side asks for."""
    main, parent, arguments = connection.recv()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # nobody is there any more
            import_string(main)(connection, *pickle.loads(arguments))  # nosec B301 # the parent made them
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(0)  # libraries' threads are not waited for


def _end_with(parent: int) -> None:
    """End when the process that started this one has ended, in the middle of whatever is going on."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def portable(error: BaseException) -> BaseException:
    """Return an error that can be sent: itself, or one of ours that says the same.

    Example:
        >>> portable(ModelScopeExtError("no")), type(portable(type("Local", (Exception,), {})("x"))).__name__
        (ModelScopeExtError('no'), 'ModelScopeExtError')
    """
    try:
        sent = pickle.loads(pickle.dumps(error))  # nosec B301 # made here
        return error if isinstance(sent, type(error)) else _said(error)
    except Exception:  # noqa: BLE001 - of whatever kind: it cannot be sent
        return _said(error)


def _said(error: BaseException) -> ModelScopeExtError:
    return ModelScopeExtError(f"{type(error).__name__}: {printable(str(error), 2000)}")
