"""A Sphinx extension: what the theme and its parts leave to mend.

What a page needs in order to be read lies beside it; nothing is fetched from a CDN. Formulas are typeset by the MathJax
that the package sphinx-mathjax-offline carries: of its 20 MB the book takes the one file that holds the glyphs too, as
SVG paths, and Sphinx loads it on pages with formulas only. Thebe, which Jupyter Book sets up to run cells on a remote
kernel, is left out: the book has a Colab button for that, and beside it, from here, Kaggle and Lightning.

docutils gives a list of citations ARIA roles that are deprecated or do not fit together; they are taken off. *Next* and
*previous* pass the pages of solutions by, each page says to search engines and previews what it is, and there are a map
of the site and a page for what is not there. The search leads from what a learner types to the page (``search.json``).
What is mended in the text of a page is in ``page_text``.
"""

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from page_text import CHAPTER, ICON_RULES, description, head, mended, with_prose_excerpts, with_words

BOOK = Path(__file__).parents[1]
SCRIPT = "mathjax-tex-svg.js"
NOT_FOUND = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Not here — Blueberry</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<body style="font: 1.1rem/1.5 sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1rem">
<h1>There is no such page</h1><p>It may have moved. Begin at the <a href="{base}book/intro.html">first page</a>, or
<a href="{base}search.html">search</a> the course.</p></body></html>
"""


def configure(app, config) -> None:
    config.mathjax_path = SCRIPT
    config.html_search_scorer = str(BOOK / "_templates" / "search_scorer.js")
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if listener.handler.__module__.split(".")[0] == "sphinx_thebe":
                listeners.remove(listener)
    app.registry.css_files[:] = [entry for entry in app.registry.css_files if entry[0] != "sphinx-thebe.css"]


def mend_citations(app, pagename, templatename, context, doctree) -> None:
    for role in (' role="doc-biblioentry"', ' role="doc-backlink"', ' role="list"'):
        context["body"] = context.get("body", "").replace(role, "")


def pass_solutions_by(app, pagename, templatename, context, doctree) -> None:
    """A chapter, its exercises, the next chapter: their solutions are linked from the sidebar."""
    relations = app.env.collect_relations()
    for direction, place in (("prev", 1), ("next", 2)):
        target = relations[pagename][place] if pagename in relations else None
        while target and "/solutions/" in target:
            target = relations[target][place]
        if target:
            number = CHAPTER.search(target) if target.startswith("notebooks/") else None
            title = (f"{number[1]} " if number else "") + app.env.titles[target].astext()
            context[direction] = {"link": app.builder.get_relative_uri(pagename, target), "title": title}


def launch_elsewhere(app, pagename, templatename, context, doctree) -> None:
    """Kaggle and Lightning under the rocket of a notebook, where the theme has put Colab."""
    for group in context.get("header_buttons", ()):
        for colab in [button for button in group.get("buttons", ()) if button.get("text") == "Colab"]:
            notebook = "https://github.com/" + colab["url"].partition("/github/")[2]
            others = {
                "Kaggle": f"https://kaggle.com/kernels/welcome?src={notebook}",
                "Lightning": f"https://lightning.ai/new?repo_url={quote(notebook, safe='')}",
            }
            group["buttons"] += [
                {"type": "link", "text": name, "tooltip": f"Launch on {name}", "icon": "fas fa-rocket", "url": url}
                for name, url in others.items()
            ]


def site_address(config) -> str:
    """Where GitHub publishes the book: of the repository in _config.yml or, in its workflow, of the workflow's own."""
    own = os.environ.get("GITHUB_REPOSITORY") or "/".join(config.html_theme_options["repository_url"].split("/")[-2:])
    owner, name = own.split("/")
    return f"https://{owner.lower()}.github.io/{name}/"


def describe(app, pagename, templatename, context, doctree) -> None:
    if doctree is not None:
        base, title = site_address(app.config), context["title"]
        tags = head(title, description(doctree), f"{base}{pagename}.html", f"{base}_static/preview.png")
        context["metatags"] = context.get("metatags", "") + tags


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def finish_pages(app, error) -> None:
    if error is None and app.builder.format == "html":
        root = Path(app.outdir)
        pages = {path: path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.html"))}
        for path, text in pages.items():
            if '<html lang="en"' in text and (better := mended(text, path, root)) != text:
                path.write_text(better, encoding="utf-8")
        (root / "_static/scripts/fontawesome.js").unlink(missing_ok=True)
        words = json.loads((BOOK / "search.json").read_text(encoding="utf-8"))
        rewrite(root / "_static/styles/pydata-sphinx-theme.css", lambda text: ICON_RULES.sub("", text))
        rewrite(root / "_static/searchtools.js", with_prose_excerpts)
        rewrite(root / "searchindex.js", lambda text: with_words(text, words))
        for unused in root.rglob("_static/**/*.map"):
            unused.unlink()
        base = site_address(app.config)
        urls = "".join(f"<url><loc>{base}{name}.html</loc></url>" for name in sorted(app.env.found_docs))
        schema = "http://www.sitemaps.org/schemas/sitemap/0.9"
        site_map = f'<?xml version="1.0" encoding="utf-8"?><urlset xmlns="{schema}">{urls}</urlset>'
        (root / "sitemap.xml").write_text(site_map, encoding="utf-8")
        (root / "404.html").write_text(NOT_FOUND.format(base=base), encoding="utf-8")


def copy_script(app, error) -> None:
    if error is None and app.builder.format == "html":
        package = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
        shutil.copyfile(package / "static/mathjax/tex-svg.js", Path(app.outdir) / "_static" / SCRIPT)


def setup(app) -> dict:
    app.connect("config-inited", configure, priority=900)
    app.connect("html-page-context", mend_citations)
    app.connect("html-page-context", pass_solutions_by)
    app.connect("html-page-context", describe)
    app.connect("html-page-context", launch_elsewhere, priority=502)  # the theme makes its own buttons at 501
    app.connect("build-finished", copy_script)
    app.connect("build-finished", finish_pages, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
