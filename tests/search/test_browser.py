"""The page in a real browser, where there is one: what its console complains about."""

import contextlib
import os
import re
import shutil
import signal
import subprocess

import pytest
import requests

from tests.search.made_index import drawn

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium():
    """A command that runs: Ubuntu's may only say how a browser is installed."""
    for path in filter(None, map(shutil.which, ("chromium", "chromium-browser"))):
        asked = subprocess.run([path, "--version"], capture_output=True, timeout=120)
        if asked.returncode == 0:
            return path
    pytest.skip("chromium is not installed")


def look_at(chromium, url, folder):
    """The page after its script has run, and the complaints."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    flags += [f"--user-data-dir={folder}", "--virtual-time-budget=3000", "--dump-dom"]
    browser = subprocess.Popen(
        [chromium, *flags, "--disable-dev-shm-usage", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        dom, said = browser.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):  # its children are gone too
            os.killpg(browser.pid, signal.SIGKILL)
    return dom, re.findall(r".*CONSOLE.*", said)


def test_the_policy_lets_the_page_do_its_work(chromium, url, tmp_path):
    answer = requests.post(f"{url}/similar", files={"image": drawn(3)}, timeout=30)
    for place in (f"{url}/", answer.url, f"{url}/none"):
        dom, complaints = look_at(chromium, place, tmp_path)
        found = [line for line in complaints if "404 (Not Found)" not in line]
        assert not found
        assert '<html lang="en" class="scripted">' in dom
