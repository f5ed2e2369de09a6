"""An input from the web through `pipeline()` and the command line: by consent of the pipeline or of the call alone."""

from __future__ import annotations

import io
import socket
from pathlib import Path
from typing import Any

import pytest

from modelscope_ext import pipeline
from modelscope_ext.data import digits_folder, digits_samples
from modelscope_ext.errors import LimitExceeded, OptionError, RedirectRefused
from tests.safety.test_urls import server  # noqa: F401  a fixture

DIGITS = {path.stem: path for path in digits_samples()}


@pytest.fixture
def site(server: Any) -> Any:  # noqa: F811
    server.pages = {f"/digits/{name}.png": path.read_bytes() for name, path in DIGITS.items()}
    server.pages |= {"/digits/away.png": "http://localhost:1/3.png"}
    return server


def load(**options: Any) -> Any:
    return pipeline(model=digits_folder(), backend="onnx", **options)


def label(answer: Any) -> str:
    return answer[0]["label"]


@pytest.mark.enable_socket
def test_a_call_may_allow_it(site: Any) -> None:
    with load() as pipe:
        url = f"{site.url}/digits/3.png"
        with pytest.raises(
            OptionError, match=r"image-classification: http://.*3\.png is a URL, and inputs are fetched only"
        ):
            pipe(url)
        assert site.asked == []
        assert label(pipe(url, allow_sources=[site.url])) == "3"
        assert pipe(url, allow_sources=[url]) == pipe(str(DIGITS["3"]))
        with pytest.raises(OptionError):
            pipe(url)  # consent of one call is not the next one's
        with pytest.raises(OptionError, match=r"allow_sources='org/base': a call takes URLs here"):
            pipe(url, allow_sources=["org/base"])


@pytest.mark.enable_socket
def test_a_pipeline_may_allow_it(site: Any) -> None:
    folder = f"{site.url}/digits/"
    with load(allow_sources=[folder]) as pipe:
        urls = [f"{folder}{name}.png" for name in ("7", "1", "0")]
        assert [label(answer) for answer in pipe(urls)] == ["7", "1", "0"]
        assert [label(answer) for answer in pipe(url for url in urls)] == ["7", "1", "0"]
        assert label(pipe({"image": urls[0]})) == "7"
        with pytest.raises(RedirectRefused, match=r"to another place: http://localhost:1/3\.png \(not opened\)"):
            pipe(f"{folder}away.png")
        with pytest.raises(OptionError, match=r"input 1: .*fetched only where"):
            pipe([urls[0], "http://127.0.0.2/a.png"])


@pytest.mark.enable_socket
def test_a_model_that_is_loaded_already_may_be_given_urls_and_nothing_else(site: Any) -> None:
    with load() as pipe:
        again = pipeline(model=pipe.model, allow_sources=[site.url])
        assert label(again(f"{site.url}/digits/5.png")) == "5"
        with pytest.raises(OptionError, match="allow_sources would change nothing"):
            pipeline(model=pipe.model, allow_sources=["org/base"])
        small = pipeline(model=pipe.model, allow_sources=[site.url], limits={"input_bytes": 10})
        with pytest.raises(LimitExceeded, match="larger than 10 bytes"):
            small(f"{site.url}/digits/5.png")


def test_the_web_is_no_part_of_a_load() -> None:
    """Sockets are blocked: allowing a host fetches nothing by itself; what cannot be allowed is refused."""
    with load(allow_sources=["https://example.org"]) as pipe:
        assert label(pipe(DIGITS["4"])) == "4"
    for wrong, says in (
        (["https://user:word@h.org"], "without user or password"),
        ("https://h.org", "expected a list"),
    ):
        with pytest.raises(OptionError, match=says):
            load(allow_sources=wrong)
    with load(allow_sources=["https://h.org"]) as pipe, pytest.raises((RuntimeError, UserWarning), match="socket"):
        pipe("https://h.org/a.png")  # the attempt is real
    with pytest.raises((RuntimeError, UserWarning), match="tried to use socket"):
        socket.socket(socket.AF_INET)


def test_bytes_open_files_and_data_urls_need_no_leave() -> None:
    from base64 import b64encode

    data = DIGITS["6"].read_bytes()
    with load() as pipe:
        forms = [data, io.BytesIO(data), "data:image/png;base64," + b64encode(data).decode(), {"bytes": data}]
        assert [label(answer) for answer in pipe(forms)] == ["6"] * 4
        with open(DIGITS["6"], "rb") as file:
            assert label(pipe(file)) == "6"


@pytest.mark.enable_socket
def test_the_command_line_allows_it_too(site: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from modelscope_ext.cli import main

    url = f"{site.url}/digits/9.png"
    asked = ["run", str(digits_folder()), "--backend", "onnx", "--option", "top_k=1", url]
    assert main(asked) != 0
    assert "inputs are fetched only where you say so" in capsys.readouterr().err
    assert main([*asked, "--allow-source", site.url]) == 0
    assert "9" in capsys.readouterr().out
