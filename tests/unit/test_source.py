"""What the source never does: run, or unpickle, what comes from outside."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "deployments"

ALLOWED = {  # What is found, and why it is no danger.
    "compile in models/da3/model.py": "of the network, by torch",
    "compile in models/da3/forward.py": "torch.compile; it takes a function, no text",
    "load in models/da3/model.py": "network.load: safetensors into a network whose layout is the package's own",
    "create_object in models/da3/network.py": "weights.py refuses layouts that name anything but the package's networks",
    "import subprocess in stages/confined.py": "this Python and a program of this package; a picture is its input, never its name",
    "load in stages/confined_decoder.py": "a picture's pixels, by Pillow",
    "import_module in models/__init__.py": "the engines' own table of modules; a name from the config only chooses a row",
}
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "import_module", "system", "popen", "Popen", "check_output", "getoutput"),
    *("loads", "load", "Unpickler", "unsafe_load", "full_load", "literal_eval", "run_path", "run_module"),
    "create_object",  # Of Depth Anything 3: it imports and calls what a file names.
}
SAFE_CALLS = {"json.loads", "json.load", "yaml.safe_load", "re.compile"}
"""They build data, or a pattern, and nothing else."""
DANGEROUS_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "jsonpickle", "subprocess", "code"}


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Every call that names what it calls, as it is written."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def forbidden_calls(source: str, where: str) -> list[str]:
    """What a module does that could run what others send."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [f"import {name} in {where}" for name in names if name.partition(".")[0] in DANGEROUS_MODULES]
    for name, call in calls(tree):
        last = name.rpartition(".")[2]
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        is_true = {arg for arg, value in keywords.items() if isinstance(value, ast.Constant) and value.value is True}
        if last == "load" and name.startswith("torch.") and "weights_only" in is_true:
            continue
        if "allow_pickle" in keywords or "shell" in is_true:
            found.append(f"{last} in {where}")
        # network.eval() sets a mode.
        if last in FORBIDDEN and name not in SAFE_CALLS and not (last == "eval" and "." in name):
            found.append(f"{last} in {where}")
    return [text for text in found if text not in ALLOWED]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_runs_or_unpickles_what_comes_from_outside(path: Path) -> None:
    assert forbidden_calls(path.read_text(), path.relative_to(PACKAGE).as_posix()) == []


def test_every_exception_is_still_needed() -> None:
    used = dict.fromkeys(ALLOWED, 0)
    for path in PACKAGE.rglob("*.py"):
        where = path.relative_to(PACKAGE).as_posix()
        for key in used:
            statement, _, module = key.partition(" in ")
            used[key] += module == where and f"\n{statement}\n" in path.read_text()
        for name, _ in calls(ast.parse(path.read_text())):
            if (key := f"{name.rpartition('.')[2]} in {where}") in used:
                used[key] += 1
    assert all(used.values()), used


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import ray.cloudpickle as p; p.loads(x)",
        "eval(x)",
        "builtins.exec(x)",
        "yaml.load(x)",
        "yaml.load(x, Loader=yaml.Loader)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "numpy.load(path)",
        "os.system(x)",
        "import subprocess",
        "__import__(x)",
    ],
)
def test_the_scan_finds_what_it_looks_for(source: str) -> None:
    assert forbidden_calls(source, "x.py")


@pytest.mark.parametrize(
    "source", ["json.loads(x)", "yaml.safe_load(x)", "torch.load(p, weights_only=True)", "net.eval()", "re.compile(x)"]
)
def test_the_scan_leaves_alone_what_is_safe(source: str) -> None:
    assert forbidden_calls(source, "x.py") == []
