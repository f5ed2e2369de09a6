"""The OpenAPI document: complete, and true of what the server does with whatever schemathesis thinks of."""

import os
import subprocess
import sys

import pytest

from tests.conftest import LOOPBACK

pytestmark = [pytest.mark.serve, pytest.mark.allow_hosts(LOOPBACK)]

#: What schemathesis holds each answer against.
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"),
    *("response_headers_conformance", "negative_data_rejection", "unsupported_method"),
)


def test_every_operation_declares_its_errors(server):
    document = server.ask("GET", "/openapi.json")[2]
    assert {f"{m.upper()} {p}" for p, row in document["paths"].items() for m in row} >= {
        "POST /v1/chat/completions",
        "POST /v1/completions",
        "POST /v1/embeddings",
        "GET /v1/models",
        "GET /v2/health/live",
        "GET /v2/health/ready",
        "GET /v2/models/{model}",
        "POST /v2/models/{model}/infer",
        "GET /health",
        "GET /metrics",
    }
    for path, row in document["paths"].items():
        for method, operation in row.items():
            assert {"200", "400", "500"} <= set(operation["responses"]), path
            if method == "post":
                assert {"401", "404", "408", "413", "415", "422", "429", "503"} <= set(operation["responses"]), path


_LONG = ("/v1/chat/completions", "/v1/completions")  # they have so many keys that each boundary of each takes minutes
#: Server -> what is tried.
TRIED = (
    ("server", ("--phases", "examples,coverage,fuzzing", *(w for path in _LONG for w in ("--exclude-path", path)))),
    ("llama", ("--phases", "fuzzing", *(w for path in _LONG for w in ("--include-path", path)))),
    pytest.param("server", ("--phases", "examples,coverage,fuzzing"), marks=pytest.mark.long),
)


@pytest.mark.parametrize(("which", "phases"), TRIED)
def test_schemathesis_finds_no_5xx_and_no_undeclared_status(request, which, phases, tmp_path):
    made = request.getfixturevalue(which)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{made.address}/openapi.json"),
            *("--checks", ",".join(CHECKS), "--max-examples", "8", "--seed", "1", "--request-timeout", "60"),
            *phases,
            "--no-color",
        ],
        capture_output=True, text=True, cwd=tmp_path, timeout=900, check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert made.process.poll() is None
    assert not [line for line in made.lines() if line["event"] == "error"]
