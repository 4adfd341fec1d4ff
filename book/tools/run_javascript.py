"""Evaluate an expression that uses model.js, in node or else in a headless Chromium."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

SCRIPT = Path(__file__).parents[1] / "_static" / "model.js"
NODE = shutil.which("node") or shutil.which("nodejs")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
SECONDS = 300


def javascript(expression: str, exported: Sequence[Path] = ()):
    """The JSON value of an expression; ``exported`` are files of export_web to load before."""
    paths = [SCRIPT, *exported]
    if NODE:
        script = (
            "const fs = require('fs'), vm = require('vm');"
            f"for (const path of {json.dumps([str(path) for path in paths])}) "
            "vm.runInThisContext(fs.readFileSync(path, 'utf8'));"
            f"console.log(vm.runInThisContext({json.dumps(f'JSON.stringify({expression})')}));"
        )
        done = subprocess.run([NODE, "-"], input=script, capture_output=True, text=True, timeout=SECONDS)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        scripts = "".join(f'<script src="{path.resolve().as_uri()}"></script>' for path in paths)
        write = f"document.querySelector('pre').textContent = encodeURIComponent(JSON.stringify({expression}))"
        page.write_text(f"<!doctype html><meta charset=utf-8>{scripts}<pre></pre><script>{write}</script>", "utf-8")
        return json.loads(unquote(page_after(page).split("<pre>")[1].split("</pre>")[0]))


def page_after(page: Path, milliseconds: int = 60_000) -> str:
    """A page as HTML, when its scripts have run for so long in a headless Chromium (whose clock does not wait)."""
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        ask = [
            f"--user-data-dir={profile}",
            f"--virtual-time-budget={milliseconds}",
            "--dump-dom",
            page.resolve().as_uri(),
        ]
        return subprocess.run([CHROMIUM, *flags, *ask], capture_output=True, text=True, timeout=SECONDS).stdout
