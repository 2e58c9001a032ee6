"""The page in a real browser, where there is one: what its console complains about."""

import re
import shutil
import subprocess

import pytest
import requests

from tests.search.made_index import drawn

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


def look_at(url, folder):
    """The page after its script has run, and the complaints."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    flags += [f"--user-data-dir={folder}", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run(
        [str(CHROMIUM), *flags, url], capture_output=True, text=True, timeout=120
    )
    return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)


def test_the_policy_lets_the_page_do_its_work(url, tmp_path):
    answer = requests.post(f"{url}/similar", files={"image": drawn(3)}, timeout=30)
    for place in (f"{url}/", answer.url, f"{url}/none"):
        dom, complaints = look_at(place, tmp_path)
        found = [line for line in complaints if "404 (Not Found)" not in line]
        assert not found
        assert '<html lang="en" class="scripted">' in dom
