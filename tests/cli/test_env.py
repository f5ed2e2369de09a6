"""`env`: versions and settings, and no secrets."""

import json
import platform

from modelscope_ext.cli import env


def test_versions_are_those_of_the_installed_packages(cli):
    report = json.loads(cli("env", "--json").out)
    import addict

    assert report["system"]["python"] == platform.python_version()
    assert report["libraries"]["addict"]["version"] == addict.__version__
    assert report["libraries"]["mindspore"] == {"version": None, "note": ""}


def test_secrets_are_never_shown(cli, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_geheim")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-geheim")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:geheim@proxy:3128")
    monkeypatch.setenv("MODELSCOPE_CACHE", "/data/cache")
    for arguments in (["env"], ["env", "--json"]):
        text = cli(*arguments).out
        assert "geheim" not in text
        assert "(set)" in text and "/data/cache" in text and "proxy:3128" in text


def test_hubs_are_shown_as_they_are_now(cli, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://me:geheim@mirror.example/")
    monkeypatch.setenv("MODELSCOPE_CACHE", "/data/ms")
    monkeypatch.setenv("MODELSCOPE_EXT_CACHE", "/data/own")
    monkeypatch.setenv("MODELSCOPE_EXT_HUB", "hf,ms")
    report = json.loads(cli("env", "--json").out)
    assert report["network"] == {"offline": "yes", "order": "huggingface, modelscope", "metadata": "/data/own"}
    assert report["hubs"]["Hugging Face"]["endpoint"] == "https://***@mirror.example"
    assert report["hubs"]["ModelScope"]["cache"] == "/data/ms"
    assert report["hubs"]["ModelScope"]["client"].startswith("modelscope-hub ")
    monkeypatch.setenv("MODELSCOPE_EXT_OFFLINE", "no")
    monkeypatch.setenv("MODELSCOPE_EXT_HUB", "nowhere")
    text = cli("env").out
    assert "geheim" not in text and "unknown" in text and "Modelers" in text
    assert json.loads(cli("env", "--json").out)["network"]["offline"] == "no"


def test_a_release_below_the_floor_is_noted(monkeypatch):
    from modelscope_ext.utils import distributions

    versions = {"torch": "2.9.1+cpu", "transformers": "4.57.3", "diffusers": "0.37.0", "peft": "0.1"}
    monkeypatch.setattr(
        distributions,
        "installed",
        lambda name: distributions.Distribution(name, versions[name]) if name in versions else None,
    )
    rows = env._libraries()
    assert "below 2.10" in rows["torch"]["note"]
    assert "below 0.38" in rows["diffusers"]["note"]
    assert rows["transformers"]["note"] == rows["peft"]["note"] == ""  # 4.57.x has the corrections
