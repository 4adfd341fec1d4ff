"""What is mended in built pages, and what the first page is made of."""

import json
import re
from pathlib import Path

import pytest
from book_tool import tool

import blueberry_lib

ROOT = Path(blueberry_lib.__file__).parents[1]
if not (ROOT / "_toc.yml").exists():
    pytest.skip("the library is installed without the book", allow_module_level=True)
pytest.importorskip("pydata_sphinx_theme")
pytest.importorskip("sphinx")

text = tool("page_text")
front = tool("front_page")


def test_icons_are_drawn_in_the_page_and_their_script_goes():
    page = (
        '<script defer src="../_static/scripts/fontawesome.js?digest=5"></script><i class="fa-solid fa-arrow-up"></i>'
        '<i class="theme-switch fa-solid fa-sun   fa-lg" data-mode="light" title="Light"></i><span class="fa-solid '
        'fa-bars"></span><i class="fab fa-github"></i><span class="toctree">x</span>'
    )
    made = text.with_icons(page)
    assert "fontawesome" not in made and made.count("<svg") == 4 and made.count("</svg>") == 4
    assert '<svg class="svg-inline--fa theme-switch fa-solid fa-sun fa-lg" data-mode="light" title="Light"' in made
    assert '<span class="toctree">x</span>' in made and "<i " not in made
    with pytest.raises(ValueError, match="no-such"):
        text.with_icons('<i class="fas fa-no-such"></i>')


def test_scripts_come_only_where_they_are_used():
    mathjax = (
        '<script>window.MathJax = {"a": 1}</script><script defer="defer" src="_static/mathjax-tex-svg.js"></script>'
    )
    search = '<script src="../_static/searchtools.js"></script>\n<script src="../searchindex.js"></script>'
    assert text.without_unused_scripts(f"<p>words</p>{mathjax}{search}", False) == "<p>words</p>"
    formula = f'<span class="math notranslate">x</span>{mathjax}'
    assert text.without_unused_scripts(formula + search, False) == formula
    assert text.without_unused_scripts(search, True) == search
    design = (
        '<link rel="stylesheet" href="_static/sphinx-design.min.css?v=6" /><script src="design-tabs.js?v"></script>'
    )
    assert text.without_unused_scripts(design, False) == ""
    assert text.without_unused_scripts(f'{design}<div class="sd-card">', False) == f'{design}<div class="sd-card">'
    toggle = '<link href="_static/togglebutton.css?v=9" /><script src="_static/togglebutton.js?v=b"></script>'
    assert text.without_unused_scripts(toggle + '<a class="dropdown-toggle sidebar-toggle">', False).startswith("<a")
    assert toggle in text.without_unused_scripts(toggle + '<div class="admonition note dropdown">', False)
    cells = '<link rel="stylesheet" href="../_static/mystnb.5f0.css" />'
    assert text.without_unused_scripts(f"{cells}<p>prose</p>", False) == "<p>prose</p>"
    notebook = f'{cells}<div class="cell docutils container">'
    assert text.without_unused_scripts(notebook, False) == notebook
    rules = '.a{b:c}.fa-cat:before,.fa-dog:before{content:"\\f1"}.fa-lg,.fa-2x{a:b}.b.fa-lg{font-size:2em}'
    assert text.ICON_RULES.sub("", rules) == ".a{b:c}.b.fa-lg{font-size:2em}"


def test_pictures_say_their_size_and_all_but_the_first_wait():
    page = '<img src="logo.svg"><article class="bd-article"><img src="a.png"/><img src="b.png"><img src="c" width="3">'
    made = text.with_sizes(page, lambda source: (8, 5) if source.endswith("png") else None)
    assert made == (
        '<img src="logo.svg"><article class="bd-article"><img src="a.png" width="8" height="5">'
        '<img src="b.png" loading="lazy" width="8" height="5"><img src="c" width="3" loading="lazy">'
    )


def test_chapters_of_the_sidebar_have_their_numbers():
    page = (
        '<li class="toctree-l1 current active has-children"><a class="current reference internal" href="#">Tokens</a>'
        '<li class="toctree-l1"><a class="reference internal" href="04_attention.html">Attention</a></li>'
        '<li class="toctree-l1"><a class="reference internal" href="../book/setup.html">Setup</a></li>'
        '<li class="toctree-l2"><a class="reference internal" href="../exercises/01_tokens.html">Exercises</a></li>'
    )
    made = text.with_numbers(page, "notebooks/01_tokens")
    assert ">01 Tokens<" in made and ">04 Attention<" in made and ">Setup<" in made and ">Exercises<" in made
    assert text.with_numbers(made, "notebooks/01_tokens") == made


def test_do_it_now_leads_to_the_exercise_and_back(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "exercises").mkdir()
    chapter, exercises = tmp_path / "notebooks" / "01_a.html", tmp_path / "exercises" / "01_a.html"
    link = '<a class="reference internal" href="../exercises/01_a.html">Do it now</a>'
    before = f"<p><strong>Exercise 01.2 · Count</strong> (hard). {link}, or</p>"
    chapter.write_text(before)
    exercises.write_text('<section id="start">\n<h2>Start</h2><section id="count-it">\n<h2>01.2 Count it<a href="#c">')
    made = text.with_exercise_links(before, chapter)
    assert 'id="exercise-01.2"' in made and 'href="../exercises/01_a.html#count-it"' in made
    back = text.with_exercise_links(exercises.read_text(), exercises)
    assert (
        '<h2>01.2 Count it <a class="way-back" href="../notebooks/01_a.html#exercise-01.2">in the chapter</a>' in back
    )
    assert text.with_exercise_links(back, exercises) == back and text.with_exercise_links(made, chapter) == made


def test_a_glossary_has_its_letters():
    terms = '<dt id="term-token">token<a></dt><dt id="term-AdamW">AdamW</dt><dt id="term-tied">tied</dt>'
    made = text.with_letters(f'<dl class="simple glossary">{terms}</dl>')
    assert '<a href="#term-AdamW">A</a> <a href="#term-token">T</a></nav>' in made and text.with_letters(made) == made
    assert text.with_letters("<dl></dl>") == "<dl></dl>"


def test_the_search_index_takes_further_words():
    content = {"docnames": ["a", "b"], "indexentries": {"muon": [[0, "term-muon", True]]}}
    made = text.with_words(f"Search.setIndex({json.dumps(content)})", {"b": ["muon", "install"]})
    entries = json.loads(made.removeprefix("Search.setIndex(").removesuffix(")"))["indexentries"]
    assert entries == {"muon": [[0, "term-muon", True], [1, "", True]], "install": [[1, "", True]]}
    assert text.with_words(made, {"b": ["muon"]}) == made


def test_a_drawing_may_be_scrolled():
    drawn, plot = '<svg role="img" style="max-width:640px"><g></g></svg>', '<svg style="max-width:100%"><g></g></svg>'
    made = text.with_drawings(f"{plot}<p>{drawn}</p>")
    assert made == f'{plot}<p><div class="drawing">{drawn}</div></p>' and text.with_drawings(made) == made


def test_stored_figures_start_where_the_library_would_start_them(monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    from blueberry_lib import interactive

    settings = {"rate": [1, 2, 3], "kind": ["a & b", "c"], "size": [1.5, 2.5, 3.5, 4.5]}
    made = interactive.static_twin(lambda **_: pyplot.figure(), lambda **values: f"{values}", settings)
    with monkeypatch.context() as before:
        before.setattr(interactive, "start_at", lambda labels: 0)
        stored = interactive.static_twin(lambda **_: pyplot.figure(), lambda **values: f"{values}", settings)
    assert text.with_starts(stored) == stored, "this library says where it starts"
    stored, made = (re.sub(r' data-start="\d+"', "", twin) for twin in (stored, made))
    assert stored != made and text.with_starts(f"<p>{stored}</p>{stored}") == f"<p>{made}</p>{made}"
    assert text.with_starts(made) == made


@pytest.mark.skipif(not tool("run_javascript").CHROMIUM, reason="needs a Chromium on the PATH")
def test_every_question_with_choices_gets_its_buttons(tmp_path):
    """Of each chapter's Markdown: as many as there are answers that begin with a letter, and that letter among them."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark", {"html": True})
    parts, right = [], []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"):
            right += re.findall(r"</summary>\s*\**\(([a-e])\)", source)
            parts.append(markdown.render(source))
    script = (ROOT / "book/_static/site.js").read_text(encoding="utf-8")
    page = tmp_path / "page.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><article class="bd-article">{"".join(parts)}</article><script>{script}'
        f"document.querySelectorAll('.quiz').forEach((quiz, i) => quiz.querySelector("
        f"`[value=${{{json.dumps(right)}[i]}}]`).click())</script>",
        encoding="utf-8",
    )
    quizzes = re.findall(r'<fieldset class="quiz">(.*?)</fieldset>', tool("run_javascript").page_after(page), re.DOTALL)
    assert len(quizzes) == len(right) > 80
    for quiz, letter in zip(quizzes, right, strict=True):
        assert re.search(r"<legend>.{20,}</legend>", quiz, re.DOTALL) and f"✓ ({letter}) is right." in quiz, quiz
        choices = re.findall(r"<span>\(([a-e])\) \S.*?</span>", quiz, re.DOTALL)
        assert choices == list("abcde"[: len(choices)]) and len(choices) >= 3, quiz
        assert re.search(r'<details[^>]* open=""><summary>Answer</summary>', quiz), quiz


def test_markers_of_the_tests_do_not_show(tmp_path):
    page = tmp_path / "a.html"
    source = '<pre><span class="c1"># NBVAL_CHECK_OUTPUT</span>\n<span class="n">x</span></pre>'
    assert text.mended(source, page, tmp_path) == '<pre><span class="n">x</span></pre>'


def test_the_head_says_what_a_page_is():
    made = text.head(
        "<code>a</code> &amp; b", 'Text & "bytes"', "https://a.github.io/b/c.html", "https://a.github.io/b/p.png"
    )
    assert '<meta name="description" content="Text &amp; &quot;bytes&quot;">' in made
    assert '<link rel="canonical" href="https://a.github.io/b/c.html">' in made
    assert '"og:title" content="a &amp; b"' in made and 'property="og:image"' in made


def test_a_card_for_every_chapter_there_is_and_none_for_others(tmp_path):
    made = front.cards(tmp_path)
    linked = re.findall(r'href="\.\./notebooks/(\w+)\.html"', made)
    assert linked == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    planned = [name for part in front.read("book/cards.json").values() for name in part if name not in linked]
    assert all(f"{name[:2]} " in made.split("Planned:", 1)[-1] for name in planned)
    pictures = re.findall(r'src="\.\./_static/cards/([^"]+)"', made)
    assert len(pictures) == len(linked) and all((tmp_path / name).stat().st_size < 60_000 for name in pictures)
    assert made.count("minutes to read") == len(linked)


def test_the_first_page_says_what_the_records_say():
    still = {"prompt": "<b", "temperature": 0.7, "text": "&c", "label": 7, "pixels": [0.5] * 64}
    record = {"text": {step: {"loss": 3.456, "bytes": 1_700_000} for step in front.STEPS}}
    made = front.live_box(record, still)
    assert "&lt;b" in made and "&amp;c" in made and made.count("<rect") == 64 and "loss 3.46" in made
    assert made.count("aria-pressed") == 10 and 'aria-pressed="true">7<' in made
    score = front.checker_score(
        {"a": {"planted": 1200, "caught": 1199, "named": 2}, "b": dict.fromkeys(("planted", "caught", "named"), 1)}
    )
    assert "1,201 wrong answers" in score and "reject 1,200" in score and "2 exercises" in score


def test_the_script_of_the_models_stays_readable():
    lines = (ROOT / "book/_static/model.js").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 250 and max(map(len, lines)) <= 120
    assert "import " not in "\n".join(lines) and json.dumps("fetch(") not in lines
