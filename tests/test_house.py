"""The plan of the house: which rooms there are, and which may import which."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "deml_tf"
COMMANDS = {
    "audit",
    "client.__main__",
    "compare",
    "data_service",
    "embed",
    "evaluate",
    "export",
    "index",
    "search.__main__",
    "launch",
    "study",
    "train",
}
FLOORS = (
    {"commands"},
    {"training", "serving", "reports", "client", "callbacks", "bulk", "search"},
    {"models", "retrieval", "studies"},
    {"backbones", "decoupling", "data", "runs", "cli"},
    {"layers", "losses"},
    {"kernels", "config", "errors"},
)


def modules():
    """Dotted names without the package's, and their files."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            yield name, path


def room(module):
    return "commands" if module in COMMANDS else module.partition(".")[0]


def imports():
    """Pairs of modules: who imports, and what."""
    names = {name for name, _ in modules()}
    for name, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                source = (node.module or "").removeprefix("deml_tf").lstrip(".")
                if not (node.module or "").startswith("deml_tf"):
                    continue
                for alias in node.names:
                    inner = f"{source}.{alias.name}".lstrip(".")
                    yield name, inner if inner in names else source
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.startswith("deml_tf."):
                        yield name, alias.name.removeprefix("deml_tf.")


def test_the_root_holds_commands_and_three_more():
    root = {path.stem for path in PACKAGE.glob("*.py")}
    commands = {name for name in COMMANDS if "." not in name}
    assert root == commands | {"__init__", "config", "errors"}


def test_arrows_point_downwards():
    floor = {name: n for n, floor in enumerate(FLOORS) for name in floor}
    upwards = [
        f"{who} -> {what}"
        for who, what in imports()
        if what and floor[room(what)] < floor[room(who)]
    ]
    assert not upwards


def test_rooms_of_one_floor_have_no_cycle():
    below = {}
    for who, what in imports():
        if what and room(who) != room(what):
            below.setdefault(room(who), set()).add(room(what))
    while below:
        leaves = {name for floor in below.values() for name in floor} - set(below)
        free = [name for name, floor in below.items() if floor <= leaves]
        assert free, f"these import each other: {below}"
        for name in free:
            del below[name]


def test_every_folder_is_a_room():
    rooms = {name for floor in FLOORS for name in floor} | {"commands"}
    assert {room(name) for name, _ in modules()} <= rooms


def test_every_line_is_said():
    """A bare print would pass on what a terminal takes for a command."""
    printing = [
        name
        for name, path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert set(printing) <= {"cli.printing"}
