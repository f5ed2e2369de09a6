"""A real page in a process of its own, as a user starts it."""

import json
import os
import select
import signal
import subprocess
import sys

from tests.serve.servers import ROOT


class Page:
    """`modelscope-ext demo MODEL --web`."""

    def __init__(self, log, *arguments):
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "modelscope_ext",
                    "demo",
                    *map(str, arguments),
                    "--web",
                    "--json",
                    "--port",
                    "0",
                ],
                stdout=subprocess.PIPE,
                stderr=stream,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            )
        ready, _, _ = select.select([self.process.stdout], [], [], 240)
        line = self.process.stdout.readline() if ready else b""
        assert line, f"the page did not start: {log.read_text()[-3000:]}"
        self.address = json.loads(line)["address"]

    def stop(self):
        """Interrupt it, and return its exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
