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
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--dump-dom"]
        done = subprocess.run([CHROMIUM, *flags, page.as_uri()], capture_output=True, text=True, timeout=SECONDS)
    return json.loads(unquote(done.stdout.split("<pre>")[1].split("</pre>")[0]))
