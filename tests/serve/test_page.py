"""The page, asked by Gradio's own client; and in headless Chromium where there is one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelscope_ext.data import digits_samples
from tests.conftest import LOOPBACK
from tests.serve.pages import Page

pytestmark = [
    pytest.mark.serve,
    pytest.mark.allow_hosts(LOOPBACK),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def folders(tiny_root):
    from tests.tiny.transformers_ import build

    names = ("text-generation", "text-ranking", "object-detection")
    return {name: build(name, tiny_root / "pages" / name) for name in names}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    pages = []

    def make(*arguments):
        pages.append(Page(tmp_path_factory.mktemp("page") / "log", *arguments))
        return pages[-1]

    yield make
    codes = [page.stop() for page in pages]
    assert set(codes) <= {0}, codes


@pytest.fixture(scope="module")
def digits(start):
    return start("--backend", "onnx")


def client(page):
    from gradio_client import Client

    return Client(page.address, verbose=False)


def file(path):
    from gradio_client import handle_file

    return handle_file(str(path))


def test_an_image_gets_its_label_and_a_wrong_input_a_readable_message(digits):
    ask = client(digits)
    for path in (digits_samples()[3], digits_samples()[7]):
        answer, problem = ask.predict(file(path), "", "", api_name="/run")
        assert answer["label"] == path.stem and problem == ""
    answer, problem = ask.predict(None, "", "", api_name="/run")
    assert "nothing was given" in problem and not answer
    answer, problem = ask.predict(file(digits_samples()[3]), "", '{"top_k": 0}', api_name="/run")
    assert "expected at least 1" in problem and not answer
    answer, problem = ask.predict(file(digits_samples()[3]), "", "{", api_name="/run")
    assert "no JSON" in problem


def test_a_file_of_the_machine_is_not_read_for_a_client(digits):
    ask = client(digits)
    with pytest.raises(Exception) as caught:
        ask.predict({"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "", "", api_name="/run")
    assert "root:" not in str(caught.value)


def test_nothing_of_the_page_comes_from_the_web(digits):
    import re
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(digits.address, timeout=60) as answer:
        text = answer.read().decode()
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?://[^"]+)"', text)
    assert [url for url in loaded if "127.0.0.1" not in url and 'rel="preconnect"' not in url] == []
    assert "modelscope_ext" in text or "onnxruntime" in text  # the decision stands in the page


BUTTONS = """
import json
from modelscope_ext import Model, pipeline
from modelscope_ext.web.page import build
found = {}
for task in ("text-generation", "image-to-image", "text-to-audio", "video-classification", "image-text-to-text"):
    blocks, _ = build(pipeline(task, type("Any", (Model,), {"tasks": (task,)})()))
    found[task] = [one.buttons for one in blocks.blocks.values() if getattr(one, "buttons", None)]
print(json.dumps(found))
"""


def test_no_button_of_any_page_sends_something_to_a_website():
    done = subprocess.run([sys.executable, "-c", BUTTONS], capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(done.stdout)
    assert len(found) == 5 and all(found.values())
    assert not [task for task, rows in found.items() if any("share" in row for row in rows)]


def test_a_chat_is_streamed_and_equals_the_pipeline(start, folders):
    from modelscope_ext import pipeline

    page = start(folders["text-generation"], "--device", "cpu")
    ask = client(page)
    job = ask.submit("hello world", [], None, '{"max_new_tokens": 8}', api_name="/chat")
    chat, _, problem = job.result(timeout=120)
    assert problem == ""
    said = chat[-1]["content"]
    said = said if isinstance(said, str) else said[0]["text"]
    with pipeline(model=str(folders["text-generation"]), device="cpu") as pipe:
        whole = pipe([{"role": "user", "content": "hello world"}], max_new_tokens=8)
    assert said == whole["generated_text"][-1]["content"]
    assert len(job.outputs()) > 2  # it came in pieces
    _, _, problem = ask.predict("", [], None, "", api_name="/chat")
    assert "nothing was written" in problem


# In a browser


needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None or shutil.which("chromedriver") is None, reason="no chromium on this machine"
)


@pytest.fixture
def browser(monkeypatch, request):
    """A browser in English, or in the language that the test names."""
    from selenium import webdriver

    monkeypatch.setenv("SE_OFFLINE", "true")
    monkeypatch.setenv("SE_AVOID_STATS", "true")
    options = webdriver.ChromeOptions()
    options.add_argument(f"--accept-lang={getattr(request, 'param', 'en-US')}")
    options.binary_location = shutil.which("chromium")
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1280,1000",
        "--no-proxy-server",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    made = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield made
    made.quit()


def opened(browser, page, query=""):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(page.address + query)
    WebDriverWait(browser, 120).until(lambda b: b.find_elements(By.CSS_SELECTOR, "#decision textarea"))


def element(browser, selector):
    from selenium.webdriver.common.by import By

    return browser.find_element(By.CSS_SELECTOR, selector)


def until(browser, says, seconds=120):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds).until(says)


def tab_to(browser, reached, most=60):
    """Press Tab until the focus is where `reached` says."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    for _ in range(most):
        if reached(browser.switch_to.active_element):
            return browser.switch_to.active_element
        ActionChains(browser).send_keys(Keys.TAB).perform()
    raise AssertionError("the keyboard does not get there")


def hosts(browser):
    found = set()
    for row in browser.get_log("performance"):
        message = json.loads(row["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.add(message["params"]["request"]["url"].split("/")[2].split(":")[0])
    return {host for host in found if host and "." in host}


@pytest.mark.long
@needs_chromium
def test_texts_by_keyboard_alone_in_light_and_dark(browser, start, folders, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = start(folders["text-ranking"], "--task", "text-ranking", "--backend", "transformers", "--device", "cpu")
    for theme in ("light", "dark"):
        opened(browser, page, f"?__theme={theme}")
        first = tab_to(browser, lambda e: e.tag_name == "textarea" and not e.get_attribute("disabled"))
        first.send_keys("the cat")
        ActionChains(browser).send_keys(Keys.TAB).perform()
        tab_to(browser, lambda e: e.tag_name == "textarea" and not e.get_attribute("value")).send_keys(
            "a dog\nthe cat sat\nfish"
        )
        tab_to(browser, lambda e: e.get_attribute("id") == "run").send_keys(Keys.ENTER)
        until(browser, lambda b: "the cat sat" in element(b, "#answer").text)
        browser.save_screenshot(str(tmp_path / f"ranking-{theme}.png"))
        dark = browser.execute_script("return document.body.classList.contains('dark')")
        assert dark == (theme == "dark")
    assert hosts(browser) <= {"127.0.0.1"}


@pytest.mark.long
@needs_chromium
def test_an_image_with_boxes_and_a_wrong_input(browser, start, folders, tmp_path):
    from PIL import Image

    page = start(folders["object-detection"], "--device", "cpu")
    opened(browser, page)
    element(browser, "#run").click()
    until(browser, lambda b: "nothing was given" in element(b, "#problem").text)
    browser.save_screenshot(str(tmp_path / "wrong.png"))
    picture = tmp_path / "picture.png"
    Image.effect_noise((96, 64), 90).convert("RGB").save(picture)
    element(browser, "input[type=file]").send_keys(str(picture))
    until(browser, lambda b: b.find_elements("css selector", "img"))
    browser.find_element("xpath", "//button[normalize-space(.)='More' or .//span[.='More']]").click()
    until(browser, lambda b: b.find_elements("css selector", "#options textarea, #options input"))
    element(browser, "#options textarea, #options input").send_keys('{"threshold": 0}')
    element(browser, "#run").click()
    until(browser, lambda b: len(b.find_elements("css selector", "#answer img")) > 1)  # the picture, and boxes over it
    assert "[object" not in element(browser, "body").text
    assert "nothing was given" not in element(browser, "#problem").text
    browser.save_screenshot(str(tmp_path / "boxes.png"))
    assert hosts(browser) <= {"127.0.0.1"}


@pytest.mark.long
@needs_chromium
def test_a_chat_by_keyboard(browser, start, folders, tmp_path):
    from selenium.webdriver.common.keys import Keys

    page = start(folders["text-generation"], "--device", "cpu")
    opened(browser, page)
    box = tab_to(
        browser,
        lambda e: (
            e.tag_name in ("textarea", "input") and e.get_attribute("data-testid") == "textbox" and e.is_enabled()
        ),
    )
    box.send_keys("hello world")
    box.send_keys(Keys.ENTER)
    until(browser, lambda b: element(b, "#answer").text.count("\n") > 0 and "hello world" in element(b, "#answer").text)
    browser.save_screenshot(str(tmp_path / "chat.png"))
    assert hosts(browser) <= {"127.0.0.1"}
    assert Path(tmp_path, "chat.png").stat().st_size > 10_000


@pytest.mark.long
@needs_chromium
@pytest.mark.parametrize("browser", ["zh-CN", "zh-TW"], indirect=True)
def test_a_chinese_browser_gets_chinese(browser, digits, tmp_path):
    opened(browser, digits)
    until(browser, lambda b: "运行" in element(b, "#run").text)
    text = element(browser, "body").text
    assert all(word in text for word in ("清空", "图像", "更多", "结果", "模型识别依据"))
    assert not [word for word in ("Run", "Clear", "Image\n", "More") if word in text.splitlines()]
    browser.save_screenshot(str(tmp_path / "chinese.png"))
