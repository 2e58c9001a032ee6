"""Keys on the search page: its script in node, where there is one."""

import json
import shutil
import subprocess

import pytest

from deml_tf.reports.page import render

# Twelve pictures in rows of five, and the script between them and the pressed keys.
BROWSER = """
const heard = {};
const document = {
  querySelector: () => null,
  querySelectorAll: () => pictures,
  documentElement: { classList: { add() {} } },
};
const pictures = [...Array(12).keys()].map((place) => ({
  getBoundingClientRect: () => ({ top: 200 * Math.floor(place / 5) }),
  focus() { document.activeElement = this; },
}));
const addEventListener = (name, listener) => { heard[name] = listener; };
"""
PRESS = """
let taken = false;
pictures[place].focus();
heard.keydown({ ...event, preventDefault() { taken = true; } });
console.log(JSON.stringify([pictures.indexOf(document.activeElement), taken]));
"""


def press(place, key, **held):
    """Which picture a key leads to, and whether the browser does not see the key."""
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")
    given = f"const place = {place}, event = {json.dumps({'key': key, **held})};"
    script = BROWSER + f"{{{render('search.js.jinja')}}}" + given + PRESS
    done = subprocess.run([node, "-"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("place", "key", "to"),
    [
        (3, "ArrowRight", 4),
        (3, "ArrowDown", 8),
        (8, "ArrowUp", 3),
        (11, "ArrowUp", 6),  # from a row of two
        (3, "End", 11),
    ],
)
def test_arrows_lead_to_the_next_picture(place, key, to):
    assert press(place, key) == [to, True]


@pytest.mark.parametrize("held", ["altKey", "ctrlKey", "metaKey", "shiftKey"])
def test_shortcuts_are_the_browsers(held):
    assert press(3, "ArrowLeft", **{held: True}) == [3, False]
