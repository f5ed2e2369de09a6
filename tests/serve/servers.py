"""A real server process on a free port, as a user starts it, and small ways to ask it."""

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Server:
    """`modelscope-ext serve` in a process of its own.

    Args:
        log: Where its stderr goes.
        arguments: After ``serve --json --port 0``.
        environment: Variables beside those of this process.
        patience: Seconds until it has to say its address.
    """

    def __init__(self, log, *arguments, environment=None, patience=120):
        self.log = Path(log)
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelscope_ext", "serve", "--json", "--port", "0", *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=stream,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(environment or {})},
            )
        ready, _, _ = select.select([self.process.stdout], [], [], patience)
        line = self.process.stdout.readline() if ready else b""
        assert line, f"the server did not start: {self.log.read_text()[-3000:]}"
        self.address = json.loads(line)["address"]
        self.host, port = self.address.removeprefix("http://").split(":")
        self.port = int(port)

    def ask(self, method, path, body=None, headers=None, timeout=60):
        """Return (status, headers, body) of one request; JSON is read as JSON."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            if isinstance(body, dict | list):
                body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            data = answer.read()
            kind = answer.headers.get("Content-Type", "")
            return answer.status, answer.headers, json.loads(data) if kind == "application/json" else data
        finally:
            connection.close()

    def stop(self, number=signal.SIGTERM, timeout=60):
        """Tell it to stop, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(timeout)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
        return code

    def lines(self):
        """Return the log, line by line."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def figures(self):
        """Return (resident bytes, open file descriptors) of the process."""
        folder = Path("/proc", str(self.process.pid))
        pages = int((folder / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE"), len(list((folder / "fd").iterdir()))


def wait_for(condition, seconds=20):
    """Wait until `condition` is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
