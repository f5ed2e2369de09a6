"""Limits, keys, hosts, and a stop that answers what is in flight."""

import concurrent.futures
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from modelscope_ext.data import digits_folder
from tests.conftest import LOOPBACK
from tests.serve.servers import Server, wait_for

pytestmark = [pytest.mark.serve, pytest.mark.allow_hosts(LOOPBACK)]

KEY = "s3cret-key"
INFER = "/v2/models/text-classification/infer"


SLOW = f"""
import json, sys, time
from modelscope_ext.models.base import Model
from modelscope_ext.pipelines.base import Pipeline
from modelscope_ext.serve import run
from modelscope_ext.serve.log import configure

class Slow(Pipeline):
    def preprocess(self, inputs):
        return inputs
    def forward(self, inputs):
        if inputs == "crash":
            raise SystemExit(3)
        if inputs == "bug":
            raise ZeroDivisionError("a secret: " + inputs)
        time.sleep(float(inputs))
        return {{"label": inputs, "score": 1.0}}

class Trickle(Model):
    tasks = ("text-generation",)
    def forward(self, inputs, **options):
        return [{{"generated_text": text}} for text in inputs]
    def stream(self, task, item, **options):
        for number in range(1000):
            time.sleep(0.02)
            if item == "break" and number == 2:
                raise LookupError("a secret")
            yield "x"

configure()
models = {{"slow": Slow(None, "text-classification"), "trickle": Pipeline(Trickle(), "text-generation")}}
run(models, port=0, api_key="{KEY}", timeout=1.5, max_requests=4, max_batch=1,
    grace=10, ready=lambda address: print(json.dumps({{"address": address}}), flush=True))
"""


def texts(*given):
    return {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(given)], "data": list(given)}]}


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A server whose model takes half a second for a batch, with a key and tight limits."""
    folder = tmp_path_factory.mktemp("slow")
    script = folder / "slow.py"
    script.write_text(SLOW)

    class Slow(Server):
        def __init__(self):
            self.log = folder / "log"
            with self.log.open("wb") as stream:
                self.process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=stream)
            line = self.process.stdout.readline()
            assert line, self.log.read_text()
            self.host, self.port = "127.0.0.1", int(json.loads(line)["address"].rpartition(":")[2])

        def infer(self, text, **more):
            return self.ask("POST", "/v2/models/slow/infer", texts(text), {"Authorization": f"Bearer {KEY}"}, **more)

    made = Slow()
    yield made
    made.stop()


def test_a_request_that_takes_too_long_is_408_and_the_next_is_answered(slow):
    status, _, answer = slow.infer("2")
    assert status == 408 and "1.5 seconds" in answer["error"]
    wait_for(lambda: slow.infer("0.01")[0] == 200)


def test_a_body_that_never_comes_is_408(slow):
    with socket.create_connection((slow.host, slow.port)) as wire:
        wire.sendall(
            b"POST /v2/models/slow/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + KEY.encode() + b"\r\nContent-Length: 50\r\n\r\n{"
        )
        wire.settimeout(10)
        assert b" 408 " in wire.recv(64)


def test_beyond_the_limit_it_is_429_and_nothing_is_lost(slow):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: slow.infer("0.2"), range(12)))
    codes = [status for status, _, _ in answers]
    assert codes.count(429) >= 4 and codes.count(200) >= 4 and set(codes) == {200, 429}
    assert all(headers["Retry-After"] == "1" for status, headers, _ in answers if status == 429)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:  # the health of a busy server can be asked
        busy = [pool.submit(slow.infer, "0.3") for _ in range(4)]
        time.sleep(0.1)
        assert slow.ask("GET", "/health")[0] == 200
        assert slow.ask("GET", "/v2/health/ready")[0] == 200
        assert {one.result()[0] for one in busy} == {200}


def stream(slow, prompt):
    """Yield the events of a streamed completion; the connection is closed with the iterator."""
    connection = http.client.HTTPConnection(slow.host, slow.port, timeout=20)
    body = json.dumps({"model": "trickle", "prompt": prompt, "stream": True})
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    try:
        connection.request("POST", "/v1/completions", body, headers)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/event-stream")
        for line in answer:
            if line.startswith(b"data: "):
                yield line[6:].strip()
    finally:
        connection.close()


def test_a_reader_who_leaves_a_stream_frees_the_model(slow):
    events = stream(slow, "go")
    assert json.loads(next(events))["choices"][0]["text"] == "x"
    events.close()  # 999 pieces, 20 s, are left
    body = {"model": "trickle", "prompt": "next"}
    wait_for(lambda: slow.ask("POST", "/v1/completions", body, {"Authorization": f"Bearer {KEY}"})[0] == 200, 5)


def test_a_stream_that_takes_too_long_or_breaks_says_so_as_its_last_event(slow):
    *pieces, error, done = stream(slow, "go")
    assert len(pieces) > 10 and done == b"[DONE]"
    assert json.loads(error)["error"]["type"] == "timeout_error"
    *pieces, error, done = stream(slow, "break")
    assert len(pieces) == 2 and json.loads(error)["error"]["type"] == "model_error" and b"secret" not in error


@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer é", KEY])
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v2", "/openapi.json", "/nowhere", "/v2/models/slow"])
def test_without_the_key_nothing_is_said(slow, key, path):
    headers = {} if key is None else {"Authorization": key.encode("utf-8")}
    status, answered, body = slow.ask("GET", path, headers=headers)
    assert status == 401 and answered["WWW-Authenticate"] == "Bearer"
    assert "slow" not in json.dumps(body)


def test_an_error_of_the_model_is_422_without_its_text_and_its_thread_lives(slow):
    for text in ("crash", "bug", "not a number"):
        status, _, answer = slow.infer(text)
        assert status == 422, answer
        assert "secret" not in answer["error"] and "/" not in answer["error"]
    assert slow.infer("0.01")[0] == 200
    assert slow.process.poll() is None
    trace = next(line for line in slow.lines() if line.get("error") and "ZeroDivisionError" in str(line["trace"]))
    assert trace["event"] == "model failed" and "secret" not in json.dumps(trace)


def test_sigterm_answers_what_is_in_flight_and_ends_with_nothing_lost(slow):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(slow.infer, "0.4") for _ in range(3)]
        time.sleep(0.2)
        slow.process.send_signal(signal.SIGTERM)
        assert [one.result()[0] for one in asked] == [200, 200, 200]
    assert slow.stop() == 0
    events = [line["event"] for line in slow.lines()]
    assert events[-2:] == ["stopping", "stopped"]


def test_large_and_foreign_bodies_are_refused_and_their_senders_hear_it(server):
    kinds = {"Content-Type": "application/json"}
    status, _, answer = server.ask("POST", INFER, b"x" * 300_000, kinds)
    assert status == 413 and "200000" in answer["error"]
    status, _, answer = server.ask("POST", "/v1/embeddings", iter([b"x" * 150_000] * 2), kinds)  # chunked
    assert status == 413 and answer["error"]["type"] == "invalid_request_error"
    assert server.ask("POST", INFER, texts("x" * 2001))[0] == 413
    assert server.ask("POST", INFER, texts(*["x"] * 41))[0] == 413
    for more in (
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {**kinds, "Content-Encoding": "gzip"},
    ):
        assert server.ask("POST", INFER, b"{}", more)[0] == 415
    assert server.ask("POST", INFER, texts("fine"))[0] == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 5000, b"\xff", b"null", b'{"inputs": NaN}', b"1" * 9999, b'{"a":1,"a":2}', b'"\\ud800"', b"[]"],
    ids=lambda b: b[:12],
)
@pytest.mark.parametrize("path", [INFER, "/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
def test_what_is_no_json_is_400(server, path, body):
    assert server.ask("POST", path, body, {"Content-Type": "application/json"})[0] == 400


def test_only_this_machines_names_and_pages_are_answered(server):
    assert server.ask("GET", "/v1/models", headers={"Host": "attacker.example"})[0] == 421
    assert server.ask("GET", "/v1/models", headers={"Origin": "http://attacker.example"})[0] == 403
    assert server.ask("GET", "/v1/models", headers={"Origin": "null"})[0] == 403
    assert server.ask("GET", "/v1/models", headers={"Origin": "http://localhost:3000"})[0] == 200
    assert server.ask("GET", "/v1/models", headers={"Host": f"localhost:{server.port}"})[0] == 200


def test_unknown_addresses_and_methods(server):
    assert server.ask("GET", "/v1/nowhere")[2]["error"]["code"] == "404"
    assert set(server.ask("GET", "/v2/nowhere")[2]) == {"error"}
    status, headers, _ = server.ask("DELETE", "/v1/models")
    assert status == 405 and headers["Allow"] == "GET"
    assert server.ask("GET", "/v2/models/nobody")[0] == 404


def test_wire_garbage_does_not_harm(server):
    for data in (
        b"\0" * 64,
        b"GET / HTTP/9.9\r\n\r\n",
        b"A" * 100_000,
        b"POST /v1/models HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ):
        with socket.create_connection((server.host, server.port)) as wire:
            wire.sendall(data)
            wire.shutdown(socket.SHUT_WR)
            wire.settimeout(10)
            with suppress(ConnectionResetError):
                wire.recv(64)
    assert server.ask("GET", "/health")[0] == 200


def test_the_log_has_a_line_for_each_request_and_nothing_of_its_body(server):
    secret = "a-secret-text"
    server.ask("POST", INFER, texts(secret))
    server.ask("POST", f"/v1/{secret}?{secret}", texts(secret))
    server.ask("POST", "/v1/embeddings", {"model": "feature-extraction", "input": secret, secret: 1})
    server.ask("POST", "/v2/models/digits/infer", {"inputs": [], "id": secret})
    # A line is written when its answer is sent.
    wait_for(lambda: any(line.get("model") == "digits" and line.get("status") == 400 for line in server.lines()))
    assert secret not in server.log.read_text()
    for line in (line for line in server.lines() if line["event"] == "request"):
        assert {"time", "level", "id", "method", "operation", "status", "seconds"} <= set(line)


def test_metrics_count_requests_by_status(server):
    def count():
        page = server.ask("GET", "/metrics")[2].decode()
        name = 'modelscope_ext_requests_total{operation="POST /v1/embeddings",status="404"}'
        return next((float(line.split()[-1]) for line in page.splitlines() if line.startswith(name)), 0.0)

    before = count()
    server.ask("POST", "/v1/embeddings", {"model": "x", "input": "a"})
    assert count() == before + 1


def test_others_are_let_in_only_with_a_key():
    from modelscope_ext.errors import OptionError
    from modelscope_ext.pipelines.builder import pipeline
    from modelscope_ext.serve import run

    with (
        pipeline(model=str(digits_folder()), backend="onnx") as pipe,
        pytest.raises(OptionError, match="--api-key-file"),
    ):
        run(pipe, host="0.0.0.0", port=0)


def test_a_port_that_is_taken_is_said(cli_code, server):
    code, error = cli_code("serve", digits_folder(), "--backend", "onnx", "--port", server.port)
    assert code == 8 and "choose another --port" in error


@pytest.fixture
def cli_code(capsys):
    from modelscope_ext.cli import main

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["a=x", "a=y"], 2, "two models are named 'a'"),
        (["./no/such/folder"], 3, "no/such/folder"),
        (["x", "--max-batch", "0"], 2, "at least 1"),
        (["x", "--timeout", "0"], 2, "above 0"),
        (["x", "--port", "70000"], 2, "between 0 and 65535"),
        (["x", "--api-key-file", "no-such-file"], 2, "expected a text file"),
        (["a b=x"], 2, "name"),
        ([], 2, "MODEL"),
    ],
)
def test_wrong_arguments(cli_code, arguments, code, says):
    found, error = cli_code("serve", *arguments)
    assert found == code and says in error


def test_a_connection_that_asks_nothing_is_closed(tmp_path):
    made = Server(tmp_path / "log", digits_folder(), "--backend", "onnx", "--timeout", "1")
    try:
        with socket.create_connection((made.host, made.port)) as wire:
            wire.settimeout(10)
            assert wire.recv(1) == b""
        connection = http.client.HTTPConnection(made.host, made.port)
        connection.request("GET", "/health")
        assert connection.getresponse().read()
        connection.close()
    finally:
        assert made.stop() == 0
