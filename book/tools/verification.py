"""Which notebooks a change may have broken, and whether they run.

A notebook's inputs are its code, the modules of the library and of the checks that it imports, directly or not, the
data files of their packages, and requirements.txt. book/records/verified.json keeps, for each Python, a hash of the
inputs with which each notebook last ran: from the built wheel, in an empty folder, at the smoke profile. ``make test``
executes a notebook again when the hash is another one; every night all are executed.
"""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from importlib.util import resolve_name
from pathlib import Path

import nbformat

from blueberry_lib.training.folder import write_json

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "book" / "records" / "verified.json"
PYTHON = ".".join(map(str, sys.version_info[:2]))
PACKAGES = {"blueberry_lib": ROOT / "blueberry_lib", "blueberry_checks": ROOT / "exercises" / "checks"}
AT_ONCE = 2  # notebooks, each with one thread
SECONDS = 1200  # after which a notebook has failed
BY_NAME = re.compile(r'import_module|__import__|runpy|"-m",\s*"blueberry')  # such code may import any module
NBVAL = "-m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 -p no:cacheprovider".split()


def notebooks() -> list[Path]:
    """The chapters, the solutions and the learners' notebooks."""
    folders = (ROOT / "notebooks", ROOT / "exercises" / "solutions", ROOT / "exercises")
    return [path for folder in folders for path in sorted(folder.glob("[0-9]*.ipynb"))]


def key(path: Path) -> str:
    """A notebook's name in the records: 02_next_token, solutions/02_next_token, exercises/02_next_token."""
    return path.stem if path.parent.name == "notebooks" else f"{path.parent.name}/{path.stem}"


def imported(tree: ast.AST, package: str) -> set[str]:
    """The modules that import statements name, wherever they stand in a file of ``package``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def files_needed(sources: Iterable[str], packages: dict[str, Path] = PACKAGES) -> dict[str, Path]:
    """The files of the packages that these sources import, directly or not, data files included, by their names.

    Where one of them imports by name instead of in a statement, or cannot be read, it is every file there is.
    """
    every = {
        f"{package}/{path.relative_to(root).as_posix()}": path
        for package, root in packages.items()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    needed, waiting = {}, [(source, "") for source in sources]
    while waiting:
        source, package = waiting.pop()
        try:
            modules = imported(ast.parse(source), package)
        except SyntaxError:
            return every
        if BY_NAME.search(source):
            return every
        for module in modules:
            top, *rest = module.split(".")
            data = {name for name in every if name.startswith(f"{top}/") and not name.endswith(".py")}
            needed |= {name: every[name] for name in data}
            for depth in range(len(rest) + 1):  # a.b.c runs a/__init__.py and a/b/__init__.py first
                inside = "/".join((top, *rest[:depth]))
                for name, package in ((f"{inside}/__init__.py", inside), (f"{inside}.py", inside.rpartition("/")[0])):
                    if name in every and name not in needed:
                        needed[name] = every[name]
                        waiting.append((every[name].read_text(encoding="utf-8"), package.replace("/", ".")))
    return needed


def inputs(path: Path, packages: dict[str, Path] = PACKAGES, lock: Path = ROOT / "requirements.txt") -> str:
    """The hash of what a notebook's execution depends on."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    checked = [cell.outputs if "NBVAL_CHECK_OUTPUT" in cell.source else None for cell in cells]
    code = json.dumps([[cell.source, cell.metadata] for cell in cells] + checked, sort_keys=True)
    files = {"requirements.txt": lock, **files_needed((cell.source for cell in cells), packages)}
    parts = [code, *(f"{name} {hashlib.sha256(files[name].read_bytes()).hexdigest()}" for name in sorted(files))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def verified() -> dict[str, dict]:
    """What is recorded for this Python, by a notebook's key: its inputs, and the seconds it took."""
    return json.loads(RECORD.read_text(encoding="utf-8")).get(PYTHON, {}) if RECORD.exists() else {}


def is_verified(path: Path) -> bool:
    return verified().get(key(path), {}).get("inputs") == inputs(path)


def build_site(folder: Path) -> Path:
    """A folder with the built wheel, and nothing of the checkout, to be put on the path."""
    source = folder / "source"
    source.mkdir()
    for package in ("blueberry_lib", "exercises/checks"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


def run_python(folder: Path, site: Path, *arguments) -> str:
    """Run Python in a folder that sees the wheel alone, at the smoke profile with one thread; "" or why it failed."""
    settings = {"BLUEBERRY_PROFILE": "smoke", "BLUEBERRY_HOME": folder, "PYTHONPATH": site, "OMP_NUM_THREADS": 1}
    environment = os.environ | {name: str(value) for name, value in settings.items()}
    environment.pop("MPLBACKEND", None)
    command = [sys.executable, *arguments]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"it did not end within {SECONDS} s"
    return done.stdout + done.stderr if done.returncode else ""


Outcome = dict[Path, tuple[str, float]]  # by notebook: why it failed ("" if it did not), and the seconds it took


def run_chapter(path: Path, site: Path) -> Outcome:
    """Execute a chapter in a kernel of its own and compare its checked outputs with the stored ones."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, folder)
        failure = run_python(Path(folder), site, *NBVAL, "--rootdir", folder, path.name)
    return {path: (failure, time.perf_counter() - start)}


def run_exercises(paths: list[Path], site: Path) -> Outcome:
    """Execute solutions and learners' notebooks in one process."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        failure = run_python(Path(folder), site, "-P", Path(__file__).with_name("run_exercises.py"), results, *paths)
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    told = {Path(path): (failure, seconds) for path, failure, seconds in map(json.loads, lines)}
    return {path: told.get(path, (f"it was not reached: {failure}", 0.0)) for path in paths}


def start(paths: Iterable[Path], site: Path, pool: ThreadPoolExecutor) -> dict[Path, Future]:
    """Start notebooks, the slowest first: by notebook, the future of an outcome that holds its own."""
    known = verified()
    chapters = [path for path in paths if path.parent.name == "notebooks"]
    chapters.sort(key=lambda path: -known.get(key(path), {}).get("seconds", 0.0))
    futures = {path: pool.submit(run_chapter, path, site) for path in chapters}
    others = [path for path in paths if path not in chapters]
    return futures | (dict.fromkeys(others, pool.submit(run_exercises, others, site)) if others else {})


def verify(everything: bool, names: list[str]) -> int:
    """Execute the notebooks that are not verified, record each that runs, and return how many did not."""
    chosen = [path for path in notebooks() if not names or path.stem in names or key(path) in names]
    stale = [path for path in chosen if everything or not is_verified(path)]
    print(f"{len(chosen) - len(stale)} notebooks unchanged since they were verified, {len(stale)} to run", flush=True)
    if not stale:
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        site = build_site(Path(folder))
        built = {package: site / package for package in PACKAGES}
        before = {path: inputs(path, built) for path in stale}
        for future in as_completed(set(start(stale, site, pool).values())):
            for path, (failure, seconds) in future.result().items():
                print(f"{key(path)}: {seconds:.0f} s" + (f", failed\n{failure}" if failure else ""), flush=True)
                failed += bool(failure)
                if not failure and inputs(path, built) == before[path]:
                    record(path, before[path], seconds)
    return failed


def record(path: Path, known_inputs: str, seconds: float) -> None:
    """Keep that a notebook ran with these inputs."""
    known = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    known.setdefault(PYTHON, {})[key(path)] = {"inputs": known_inputs, "seconds": round(seconds, 1)}
    write_json(RECORD, {python: dict(sorted(entries.items())) for python, entries in sorted(known.items())})
