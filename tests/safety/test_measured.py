"""docs/safety.md has a row for each case that `scripts/measure_safety.py` measures, and says so of cases that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.safety.cases import CASES
from tests.safety.invented import INVENTED

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "safety.md").read_text("utf-8")


@pytest.fixture(scope="module")
def script():
    """The script, imported as where it is run."""
    path, modules = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import measure_safety
    finally:
        sys.path[:] = path
    yield measure_safety
    for name in {"measure_safety", "watched_load"} - modules:
        del sys.modules[name]


def table():
    """Return the head and the rows of the page's table, as cells."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_row_is_a_case_of_the_suite(script):
    known = {case.id for case in (*CASES, *INVENTED)}
    assert len({row.case for row in script.ROWS}) == len(script.ROWS) == 20
    assert {row.case for row in script.ROWS} <= known
    assert {row.kind for row in script.ROWS} <= {kind for calls in script.CALLS.values() for kind in calls}


def test_the_page_has_the_rows_of_the_script(script):
    assert re.search(r"in one run on \d{4}-\d\d-\d\d", PAGE)
    head, *rows = table()
    assert [name.split()[0] for name in head[1:]] == list(script.CALLS)
    assert [row[0] for row in rows] == [row.says for row in script.ROWS]
    assert f"`{'`, `'.join(row.case for row in script.ROWS)}`" in PAGE
    for row, asked in zip(rows, script.ROWS, strict=True):
        unread = [cell == "does not read it" for cell in row[1:]]
        assert unread == [asked.kind not in calls for calls in script.CALLS.values()]


def test_this_package_refuses_every_folder_of_the_page():
    assert {row[-1].partition(":")[0] for row in table()[1:]} == {"refused"}


def test_a_cell_says_the_worst_that_was_seen(script):
    nothing = {"program": [], "server": [], "outside": [], "error": [], "text": [], "ended": ""}

    def told(**seen):
        return script.told({**nothing, **seen})

    assert script.told(None) == "does not read it"
    assert told() == "loaded"
    assert told(error=["ValueError"], text=["no"]) == "refused: ValueError"
    assert told(error=["KeyError"]) == "**crashed (KeyError)**"
    assert told(program=["evil.py"], error=["SystemExit"]) == "**ran its code**"
    assert told(program=["['python', '-m', 'pip', 'install', 'x']"], error=["PermissionError"]) == "**ran pip**"
    assert told(server=["hub"], ended="hung") == "**asked a server**"
    assert told(outside=["x"], error=["OSError"]) == "**opened a file outside**"
    assert told(ended="memory") == "**took > 1 GB**"
    assert told(ended="signal SIGSEGV") == "**crashed (signal SIGSEGV)**"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify and /proc are Linux's")
def test_a_load_is_watched_whatever_it_does(tmp_path):
    """Each of the things that a cell can say is seen of a call that does it."""
    folder = tmp_path / "at" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_text("x")
    (folder / "link").symlink_to(tmp_path / "outside" / "x")
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, str(ROOT / "scripts"), str(folder), str(tmp_path)],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "quiet {}",
        "code {'program': ['evil.py']}",
        "program {'program': [\"b'true'\"], 'error': ['PermissionError'], 'text': ['programs are stopped here']}",
        "server {'server': ['localhost'], 'error': ['OSError'], 'text': ['there is no network here']}",
        "outside {'outside': ['x']}",
        "refused {'error': ['OSError']}",
        "memory {'ended': 'memory'}",
        "hung {'ended': 'hung'}",
        "killed {'ended': 'signal SIGABRT'}",
    ], done.stderr


_WATCHED = """
import os, socket, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import watched_load
watched_load.PROCESSOR = 4
folder, place = map(Path, sys.argv[2:])


def hang(_):
    while True:
        pass


calls = {
    "quiet": lambda folder: None,
    "code": lambda folder: open(os.environ["EVIL_MARK"], "w").close(),
    "program": lambda folder: os.system("true"),
    "server": lambda folder: socket.getaddrinfo("localhost", 80),
    "outside": lambda folder: open(folder + "/link").close(),
    "refused": lambda folder: os.open(folder + "/link", os.O_RDONLY | os.O_NOFOLLOW),
    "memory": lambda folder: [b"x" * 2 * 10**9, time.sleep(60)],
    "hung": hang,
    "killed": lambda folder: os.abort(),
}
for name, call in calls.items():
    seen = {key: value for key, value in watched_load.load(call, folder, place).items() if value}
    if name == "refused":
        del seen["text"]
    print(name, seen)
"""
