"""The library stays thin, its imports point one way, and it needs little to be imported."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import blueberry_lib

ROOT = Path(blueberry_lib.__file__).parent
LAYERS = (
    {"config", "hardware", "plots"},
    {"model", "optim", "data"},
    {"training"},
    {"generation", "ranking", "scaling"},
    {"images"},
    {"speedrun"},
    {"interactive", "notebook", "export", "export_web", "evaluate", "milestone", "doctor", "cli", "__main__"},
)
CORE_NEEDS = {"torch", "numpy", "tokenizers", "safetensors", "tqdm"}


def imports(path: Path, anywhere: bool) -> set[str]:
    """The modules a file imports, those inside functions too if ``anywhere``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree) if anywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def part(module: str) -> str:
    return [*module.split("."), ""][1]


def test_imports_point_one_way():
    rank = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for module in imports(path, anywhere=True):
            if module.startswith("blueberry_lib.") and own != "__init__" and part(module) != own:
                below = rank[part(module)] < rank[own] or (own, part(module)) == ("hardware", "config")
                assert below or rank[own] == len(LAYERS) - 1, f"{path} imports {module}"


def test_the_library_imports_with_its_five_needs_alone():
    for path in ROOT.rglob("*.py"):
        others = {m.split(".")[0] for m in imports(path, anywhere=False)} - set(sys.stdlib_module_names)
        allowed = CORE_NEEDS | {"blueberry_lib"} | ({"tyro"} if path.parent.name == "cli" else set())
        assert others <= allowed, f"{path} imports {others - allowed}"
        assert not any(m.startswith("blueberry_checks") for m in imports(path, anywhere=True)), path
    script = (
        "import sys; import blueberry_lib.speedrun.run, blueberry_lib.doctor\n"
        "print([m for m in ('matplotlib', 'transformers', 'datasets', 'scipy', 'tyro') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_are_short_and_nothing_is_unpickled():
    for path in ROOT.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, path
        for word in ("import pickle", "torch.load(", "eval(", "exec(", "trust_remote_code"):
            assert word not in text.replace("model.eval(", "").replace(".eval()", ""), f"{path}: {word}"


def test_uv_installs_what_requirements_txt_says_from_the_public_index():
    root = ROOT.parent
    if not (root / "uv.lock").exists():
        pytest.skip("the library is installed without its repository")
    text = (root / "uv.lock").read_text(encoding="utf-8")
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["dependency-groups"]["dev"]) == pins
    locked = {f"{package['name']}=={package.get('version')}" for package in tomllib.loads(text)["package"]}
    assert {pin.lower().replace("_", "-") for pin in pins} <= locked, "uv lock has not been run since"
    assert set(re.findall(r"https?://([^/\"]+)", text)) == {"pypi.org", "files.pythonhosted.org"}
