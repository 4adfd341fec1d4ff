"""The book builds without a warning, and what it promises is there: pages, links, pictures, addresses, numbers."""

import json
import re
import subprocess
import sys
from html import escape as html_escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from book_tool import tool

import blueberry_lib

pytest.importorskip("jupyter_book")
import yaml

ROOT = Path(blueberry_lib.__file__).parents[1]
if not (ROOT / "_toc.yml").exists():
    pytest.skip("the library is installed without the book", allow_module_level=True)
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
CHAPTERS = [chapter for part in TOC["parts"] for chapter in part["chapters"]]
PAGES = [TOC["root"], *(page["file"] for c in CHAPTERS for page in (c, *c.get("sections", ())))]
NOTEBOOKS = [page for page in PAGES if (ROOT / f"{page}.ipynb").exists()]
ADDRESS = CONFIG["repository"]["url"]
COLAB = "https://colab.research.google.com/github/"


class Page(HTMLParser):
    """What the tests ask of an HTML page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.ids, self.links, self.images, self.loaded = path, set(), [], [], []
        self.title, self._in_title = "", False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list) -> None:
        found = dict(attrs)
        self.ids |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found)
        if tag in ("script", "iframe") and found.get("src"):
            self.loaded.append(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "preload"):
            self.loaded.append(found["href"])
        self._in_title |= tag == "h1"

    def handle_endtag(self, tag: str) -> None:
        self._in_title &= tag != "h1"

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> dict[str, Page]:
    """The pages of the table of contents, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("book")
    script = "from jupyter_book.cli.main import main; main()"
    arguments = ["build", str(ROOT), "--path-output", str(folder), "-W", "-n", "--keep-going"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    said = done.stdout + done.stderr
    warnings = [line for line in said.splitlines() if re.search("WARNING|ERROR|CRITICAL", line)]
    assert done.returncode == 0, "\n".join(warnings) or said[-3000:]
    built = folder / "_build" / "html"
    return {name: Page(built / f"{name}.html") for name in PAGES}


def broken_links(pages: dict[str, Page]) -> list[str]:
    """Each relative link or picture that leads nowhere, an anchor that is not on its page among them."""
    known = {page.path.resolve(): page for page in pages.values()}
    broken = []
    for name, page in pages.items():
        for address in [*page.links, *page.loaded, *(image["src"] for image in page.images)]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or address in ("#", ""):
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path.resolve()
            if not target.is_file():
                broken.append(f"{name}: {address}")
            elif parts.fragment and target.suffix == ".html":
                known.setdefault(target, None)
                known[target] = known[target] or Page(target)
                if unquote(parts.fragment) not in known[target].ids:
                    broken.append(f"{name}: {address} (no such anchor)")
    return broken


def test_every_page_has_a_title(html):
    assert all(len(page.title.strip("# \n")) > 2 for page in html.values())
    index = html[TOC["root"]].path.parents[1] / "index.html"
    assert f"{TOC['root']}.html" in index.read_text(encoding="utf-8")


def test_links_anchors_and_pictures_resolve(html):
    assert broken_links(html) == []


def test_a_broken_link_would_be_found(html, tmp_path):
    path = tmp_path / "page.html"
    path.write_text('<h1 id="a">A</h1><a href="#a"></a><a href="#b"></a><a href="no.html"></a><img src="no.png">')
    assert broken_links({"page": Page(path)}) == ["page: #b (no such anchor)", "page: no.html", "page: no.png"]


def test_every_picture_says_what_it_shows(html):
    assert [(name, image) for name, page in html.items() for image in page.images if not image.get("alt")] == []


def test_nothing_a_page_needs_comes_from_elsewhere(html):
    for name, page in html.items():
        assert [address for address in page.loaded if urlsplit(address).netloc] == [], name
        assert not re.search(r"unpkg|jsdelivr|cdnjs|fonts\.googleapis", page.path.read_text(encoding="utf-8")), name
    assert (html[TOC["root"]].path.parents[1] / "_static" / "mathjax-tex-svg.js").stat().st_size > 1e6


def sources() -> dict[str, str]:
    """The text of every page and notebook, as it is written."""
    notebooks = [path for folder in ("notebooks", "exercises") for path in (ROOT / folder).rglob("*.ipynb")]
    paths = [*(ROOT / "book").glob("*.md"), *notebooks, *ROOT.glob("*.md")]
    texts = {}
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        texts[str(path.relative_to(ROOT))] = text
    return texts


def test_every_address_of_this_repository_is_the_configured_one(html):
    prefix = f"{COLAB}{ADDRESS.removeprefix('https://github.com/')}/blob/{CONFIG['repository']['branch']}/"
    texts = sources() | {name: page.path.read_text(encoding="utf-8") for name, page in html.items()}
    for name, text in texts.items():
        for link in re.findall(re.escape(COLAB) + r"[^\s\"')>&]*", text):
            assert link.startswith(prefix), f"{name}: {link}"
            assert (ROOT / link.removeprefix(prefix)).is_file(), f"{name}: {link}"
        for address in re.findall(r"(?:git clone |git\+)(https?://[^\s\"'`<&]+)", text):
            assert address.removesuffix(".git") == ADDRESS, f"{name}: {address}"


def test_each_notebook_has_its_launch_buttons(html):
    assert NOTEBOOKS
    for name in NOTEBOOKS:
        links = html[name].links
        assert any(link.startswith(COLAB) and link.endswith(f"{name}.ipynb") for link in links), name
        blob = f"{ADDRESS}/blob/{CONFIG['repository']['branch']}/{name}.ipynb"
        assert f"https://kaggle.com/kernels/welcome?src={blob}" in links, name
        assert f"https://lightning.ai/new?repo_url={quote(blob, safe='')}" in links, name


def test_the_first_page_offers_a_start_and_a_picture(html):
    page = html[TOC["root"]]
    assert any(link.startswith(COLAB) for link in page.links)
    assert any("loss.png" in image["src"] for image in page.images)


def test_pages_load_no_more_than_they_use(html):
    for name, page in html.items():
        text = page.path.read_text(encoding="utf-8")
        assert "fontawesome.js" not in text and "NBVAL_" not in text, name
        assert any("mathjax" in script for script in page.loaded) == ('class="math' in text), name
        assert not any("search" in script for script in page.loaded), name
        assert not re.search(r'class="fa(?:[srb]|-\w+) ', text), name
    first = html[TOC["root"]]
    needed = [first.path.parent / address.split("?")[0] for address in first.loaded if not address.startswith("data:")]
    assert sum(path.stat().st_size for path in {*needed, first.path}) <= 600_000


def test_each_page_says_what_it_is_and_the_site_map_has_it(html):
    site = html[TOC["root"]].path.parents[1]
    site_map = (site / "sitemap.xml").read_text(encoding="utf-8")
    assert "first page" in (site / "404.html").read_text(encoding="utf-8")
    for name, page in html.items():
        text = page.path.read_text(encoding="utf-8")
        assert '<meta property="og:title"' in text and '<link rel="canonical"' in text, name
        assert f"/{name}.html</loc>" in site_map
        if name in [chapter["file"] for chapter in CHAPTERS[:20]]:
            assert re.search(r'<meta name="description" content=".{40,}?">', text), name
    assert "<title>Blueberry" not in html[TOC["root"]].path.read_text(encoding="utf-8")


def test_next_passes_the_solutions_by(html):
    for name, page in html.items():
        ahead = re.search(r'<a class="right-next"\s+href="([^"]+)"', page.path.read_text(encoding="utf-8"))
        assert not ahead or "solutions/" not in ahead[1], name


def test_do_it_now_leads_to_an_exercise(html):
    for name, page in html.items():
        links = re.findall(r'href="([^"]+)"><span class="std std-doc">Do it now', page.path.read_text(encoding="utf-8"))
        assert all("#" in link for link in links), name


@pytest.mark.skipif(not tool("run_javascript").CHROMIUM, reason="needs a Chromium on the PATH")
def test_the_models_of_the_first_page_run_in_a_browser(html):
    """From a file, without a network: pressing *Write* gives what the page shows to those who do not press it."""
    page = html[TOC["root"]].path
    press = (
        "<script>addEventListener('load', () => { document.querySelector('.live .new').textContent = '';"
        "document.querySelector('.live-text .main').click(); document.querySelector('.live-classes button').click(); })"
        "</script>"
    )
    copy = page.with_name("pressed.html")
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{press}</body>"), encoding="utf-8")
    found = tool("run_javascript").page_after(copy)
    copy.unlink()
    still = json.loads((ROOT / "book/_static/web/still.json").read_text(encoding="utf-8"))
    assert re.search(r'<span class="new">(.*?)</span>', found, re.DOTALL)[1] == html_escape(still["text"], quote=False)
    assert "per second on this machine" in found and 'aria-label="A 0, drawn by the model"' in found


TYPED = {  # what a learner types, and the page that they look for
    "Muon": "notebooks/09_muon",
    "install": "book/setup",
    "tokeniser": "notebooks/01_tokens",
    "tokenizer": "notebooks/01_tokens",
    "loss": "notebooks/02_next_token",
    "perplexity": "notebooks/02_next_token",
    "softmax": "notebooks/02_next_token",
    "learning rate": "notebooks/03_training_loop",
    "backpropagation": "notebooks/03_training_loop",
    "attention": "notebooks/04_attention",
    "rope": "notebooks/05_position_and_norm",
    "transformer": "notebooks/06_the_block",
    "temperature": "notebooks/07_generation",
    "KV cache": "notebooks/07_generation",
    "adam": "notebooks/08_adamw",
    "flash attention": "notebooks/10_speed",
    "bfloat16": "notebooks/10_speed",
    "scaling laws": "notebooks/15_scaling",
    "diffusion": "notebooks/16_flow_matching",
    "vae": "notebooks/18_vqvae",
    "gpu": "book/setup",
    "error": "book/troubleshooting",
}


@pytest.mark.skipif(not tool("run_javascript").NODE, reason="needs node on the PATH")
def test_the_search_finds_first_what_a_learner_looks_for(html):
    """Sphinx's own script, with the index of the built book."""
    site = html[TOC["root"]].path.parents[1]
    scripts = [site / "_static/language_data.js", site / "_static/searchtools.js", site / "searchindex.js"]
    assert '".cell", "figure"' in scripts[1].read_text(encoding="utf-8")
    page = "const SPHINX_HIGHLIGHT_ENABLED = false, _ready = () => {}, document = {getElementById() {}}, _ = (t) => t;"
    source = [page, *(path.read_text(encoding="utf-8") for path in scripts)]
    source.append(
        f"const found = {json.dumps(list(TYPED))}.map((words) => Search._performSearch(...Search._parseQuery(words)));"
        "console.log(JSON.stringify(found.map((results) => results.reverse().slice(0, 3).map((result) => result[0]))));"
    )
    done = subprocess.run([tool("run_javascript").NODE, "-"], input="\n".join(source), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(zip(TYPED, json.loads(done.stdout), strict=True))
    assert {words: pages[:1] for words, pages in found.items()} == {words: [page] for words, page in TYPED.items()}


@pytest.mark.skipif(not tool("run_javascript").CHROMIUM, reason="needs a Chromium on the PATH")
@pytest.mark.parametrize("name", ["notebooks/04_attention", "notebooks/09_muon"])
def test_questions_with_choices_can_be_answered(html, name):
    """In both forms in which they are written; the answer of the first one is chosen, and is right."""
    page, cells = html[name].path, json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    folds = re.findall(r"</summary>\s*\**\(([a-e])\)", "\n".join("".join(cell["source"]) for cell in cells))
    press = f"addEventListener('load', () => document.querySelector('.quiz input[value={folds[0]}]').click())"
    text = page.read_text(encoding="utf-8").replace("</body>", f"<script>{press}</script></body>")
    copy = page.with_name("answered.html")
    copy.write_text(text, encoding="utf-8")
    made = tool("run_javascript").page_after(copy)
    copy.unlink()
    quizzes = re.findall(r'<fieldset class="quiz">.*?</fieldset>', made, re.DOTALL)
    assert len(quizzes) == len(folds) >= 5
    for quiz, right in zip(quizzes, folds, strict=True):
        values = re.findall(r'<input type="radio" name="quiz-\d+" value="(\w)">', quiz)
        assert len(values) >= 3 and values == sorted(set(values)) and right in values
        assert re.search(r"<legend>.{20,}?</legend>", quiz, re.DOTALL) and "<summary>Answer</summary>" in quiz
    assert f"✓ ({folds[0]}) is right." in quizzes[0] and re.search(r"<details[^>]* open", quizzes[0])


def test_bound_numbers_agree_with_their_records():
    assert tool("bind_numbers").run() == []


def test_a_changed_number_is_noticed_and_can_be_mended(tmp_path):
    bind = tool("bind_numbers")
    (tmp_path / "book" / "records").mkdir(parents=True)
    record = {"loss": 3.6149, "n": 1048576, "share": 0.305, "machine": {"names": ["CPU"]}, "w": {"1.5": 2.25}}
    (tmp_path / "book" / "records" / "a.json").write_text(json.dumps(record))
    page = tmp_path / "book" / "page.md"
    right = (
        "A <!--num:a:loss-->3.615, <!--num:a:loss-->3.6. <!--num:a:n:,-->1,048,576, <!--num:a:share*100:.1f-->30.5 or "
        "<!--num:a:share:.1%-->30.5% on a <!--text:a:machine.names.0-->CPU<!--/-->, <!--num:a:w.1_5-->2.25."
    )
    page.write_text(right)
    assert bind.run(tmp_path) == []
    for old, new in (("3.615", "3.614"), ("3.6.", "3.7."), ("576", "575"), ("30.5%", "30.4%"), (">CPU<", ">GPU<")):
        page.write_text(right.replace(old, new))
        assert len(bind.run(tmp_path)) == 1, old
        assert bind.run(tmp_path, write=True) == []
        assert page.read_text() == right
    unbound = ("a:lost", "b:loss", "a:machine", "a.loss", "a")
    for wrong in ("A\n<!--num:a:loss-->3.6", *(f"A <!--num:{path}-->3" for path in unbound)):
        page.write_text(f"{wrong}, but <!--num:a:loss-->3.6")
        assert len(bind.run(tmp_path)) == 1, wrong
    page.write_text("A <!--num:a:lost-->3 and <!--num:a:loss-->9.9")
    assert len(bind.run(tmp_path, write=True)) == 1
    assert page.read_text() == "A <!--num:a:lost-->3 and <!--num:a:loss-->3.6"


def test_the_status_table_is_what_was_measured(tmp_path):
    status = tool("status")
    page = (ROOT / "book" / "status.md").read_text(encoding="utf-8")
    assert status.filled(page) == page
    assert status.NOTHING in status.filled(page, tmp_path)
    made = status.table({"01_b": {"cpu": {"seconds": 130}}, "00_a": {"t4": {"seconds": 9}, "smoke": {"seconds": 7.4}}})
    assert [line.split(" | ")[1:] for line in made.splitlines()[2:]] == [
        ["`smoke`", "7 s |"],
        ["`t4`", "9 s |"],
        ["`cpu`", "2.2 min |"],
    ]
