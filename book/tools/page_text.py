"""What is mended in the text of a built page: pure functions from HTML to HTML, which ``mend_pages`` applies to each.

A page is light: icons are inline instead of a script with two thousand of them, MathJax comes only where there is a
formula, and what the search needs only on its own page. Pictures say their size, so that nothing jumps. Figures with
sliders start where they have something to tell.
"""

import html
import json
import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from PIL import Image

from blueberry_lib.interactive import picture_at, start_at

ICON_TAG = re.compile(r'<(i|span) class="([^"]*\bfa[sbr]?(?:-solid|-brands)? [^"]*)"([^>]*)>\s*</\1>')
MATH = re.compile(r"<script[^>]*>window\.MathJax = .*?</script>\s*|<script[^>]*mathjax-tex-svg[^>]*></script>\s*", re.S)
SEARCH = re.compile(r'<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>\s*')
DESIGN = re.compile(r"<(?:link|script)[^>]*(?:sphinx-design\.min\.css|design-tabs\.js)[^>]*>(?:</script>)?\s*")
CELLS = re.compile(r"<link[^>]*/mystnb\.[^>]*\.css[^>]*>\s*")
ICON_RULES = re.compile(r"(?<=[{}])(?:\.fa[\w-]*(?::?:\w+)?,?)+\{[^{}]*\}")
TOGGLE = re.compile(r"<(?:link|script)[^>]*togglebutton\.(?:css|js)[^>]*>(?:</script>)?\s*")
TOGGLED = re.compile(r'class="(?:[^"]* )?(?:toggle|admonition[^"]* dropdown|dropdown[^"]* admonition)[ "]')
ICON_SCRIPT = re.compile(
    r"<!-- So that users can add custom icons -->\s*|<script[^>]*scripts/fontawesome\.js[^>]*></script>\s*"
)
MARKER = re.compile(r'<span class="c1"># NBVAL_[A-Z_]+</span>\n')
LINKED = r'<strong(?: id="[^"]*")?>(Exercise (\d\d\.\d+))([^\n]*?href=")([^"#]*exercises/\d\d_\w+\.html)(?:#[\w-]+)?"'
CHAPTER = re.compile(r"(?:^|/)(\d\d)_\w+(?:\.html)?$")


@cache
def icon(name: str) -> str:
    """One icon of Font Awesome Free (CC BY 4.0), which the theme carries: its viewBox and path, as SVG attributes."""
    folder = Path(find_spec("pydata_sphinx_theme").origin).parent
    script = next(folder.rglob("static/scripts/fontawesome.js")).read_text(encoding="utf-8")
    drawn = re.findall(rf'[,{{]"?{re.escape(name)}"?:\[(\d+),(\d+),\[[^\]]*\],"\w+","([^"]+)"\]', script)
    if not drawn:
        raise ValueError(f"Font Awesome has no icon {name}")
    width, height, path = drawn[-1]  # where there are two, the filled one is the second
    return f'viewBox="0 0 {width} {height}"><path fill="currentColor" d="{path}"/></svg>'


def with_icons(text: str) -> str:
    """Each ``<i class="fa-solid fa-sun">`` as the SVG itself."""

    def drawn(match: re.Match) -> str:
        name = next(word for word in match[2].split() if word.startswith("fa-") and word not in ("fa-solid", "fa-lg"))
        classes = f"svg-inline--fa {' '.join(match[2].split())}"
        return f'<svg class="{classes}"{match[3]} aria-hidden="true" focusable="false" {icon(name.removeprefix("fa-"))}'

    return ICON_SCRIPT.sub("", ICON_TAG.sub(drawn, text))


def without_unused_scripts(text: str, is_search: bool) -> str:
    if 'class="math' not in text:
        text = MATH.sub("", text)
    if 'class="sd-' not in text and " sd-" not in text:
        text = DESIGN.sub("", text)
    if not TOGGLED.search(text):
        text = TOGGLE.sub("", text)
    if 'class="cell' not in text:
        text = CELLS.sub("", text)
    return text if is_search else SEARCH.sub("", text)


def with_sizes(text: str, size_of: Callable[[str], tuple[int, int] | None]) -> str:
    """Each picture of the article with its width and height; all but the first wait to be scrolled to."""
    before, article, text = text.partition('<article class="bd-article"')
    seen = 0

    def sized(match: re.Match) -> str:
        nonlocal seen
        tag = match[0]
        source = re.search(r'src="([^"]+)"', tag)
        if not source:
            return tag
        seen += 1
        more = "" if " loading=" in tag or seen == 1 else ' loading="lazy"'
        size = None if " width=" in tag or "style=" in tag else size_of(source[1])
        if size:
            more += f' width="{size[0]}" height="{size[1]}"'
        return re.sub(r"\s*/?>$", f"{more}>", tag)

    return before + article + re.sub(r"<img\b[^>]*>", sized, text)


def picture_size(page: Path) -> Callable[[str], tuple[int, int] | None]:
    """The size in pixels of the pictures that a page names."""

    def size(source: str) -> tuple[int, int] | None:
        path = page.parent / source.split("?")[0]
        if source.startswith("data:") or not path.is_file() or path.suffix == ".svg":
            return None
        with Image.open(path) as image:
            return image.size

    return size


def with_numbers(text: str, page: str) -> str:
    """The chapters of the sidebar, of *next* and of *previous* with their numbers."""

    def numbered(match: re.Match) -> str:
        number = CHAPTER.search(page if match[2] == "#" else match[2])
        return match[1] + match[2] + match[3] + (f"{number[1]} " if number else "") + match[4]

    item = r'(<li class="toctree-l1[^"]*"><a class="[^"]*" href=")([^"]+)(">)(?!\d\d )(\s*\w)'
    return re.sub(item, numbered, text)


def exercise_sections(text: str) -> dict[str, str]:
    """The anchor of each exercise on a page of exercises: its number → the section's id."""
    return {number: anchor for anchor, number in re.findall(r'id="([\w-]+)">\s*<h2>(\d\d\.\d+) ', text)}


def with_exercise_links(text: str, page: Path) -> str:
    """*Do it now* leads to the exercise itself, and the exercise has a link back."""

    def to_exercise(match: re.Match) -> str:
        target = (page.parent / match[4]).resolve()
        anchor = exercise_sections(target.read_text(encoding="utf-8")).get(match[2]) if target.is_file() else None
        href = match[4] + (f"#{anchor}" if anchor else "")
        return f'<strong id="exercise-{match[2]}">{match[1]}{match[3]}{href}"'

    text = re.sub(LINKED, to_exercise, text)
    chapter = page.parents[1] / "notebooks" / page.name
    if page.parent.name == "exercises" and chapter.is_file():
        there = {link[1] for link in re.findall(LINKED, chapter.read_text("utf-8"))}

        def way_back(match: re.Match) -> str:
            link = f'<a class="way-back" href="../notebooks/{page.name}#exercise-{match[2]}">in the chapter</a>'
            return f"{match[1]}{match[3]} {link}" if match[2] in there else match[0]

        text = re.sub(r"(<h2>(\d\d\.\d+) )([^<]*)(?!.*way-back)", way_back, text)
    return text


def with_letters(text: str) -> str:
    """A line of letters above a glossary, each leading to its first term."""
    first = {}
    for anchor, term in re.findall(r'<dt id="(term-[^"]+)">([^<]+)', text):
        first.setdefault(term.strip()[:1].upper(), anchor)
    if len(first) < 2 or 'class="letters"' in text:
        return text
    links = " ".join(f'<a href="#{anchor}">{letter}</a>' for letter, anchor in sorted(first.items()))
    start = '<dl class="simple glossary">'
    return text.replace(start, f'<nav class="letters" aria-label="Letters">{links}</nav>\n{start}', 1)


def with_starts(text: str) -> str:
    """Each figure with sliders that an earlier library stored at its first picture, where it would start it now."""

    def started(figure: re.Match) -> str:
        labels = json.loads(html.unescape(figure[1]))
        starts = [start_at(texts) for texts in labels]
        if "data-start=" in figure[0][: figure[0].index(">")] or re.search(r' value="[1-9]\d*" step=', figure[0]):
            return figure[0]  # its author or the library chose
        shown = picture_at(starts, labels)
        sliders, frames = iter(zip(starts, labels, strict=True)), count()

        def moved(slider: re.Match) -> str:
            at, texts = next(sliders)
            label = html.escape(texts[at])
            return f'value="{at}" {slider[1]}{label}{slider[2]}{label}<'

        made = re.sub(r'value="\d+" (step="1"[^>]*? aria-valuetext=")[^"]*("[^>]*><output>)[^<]*<', moved, figure[0])
        frame = '<div class="frame"{}>'
        return re.sub(
            frame.format("(?: hidden)?"), lambda _: frame.format("" if next(frames) == shown else " hidden"), made
        )

    return re.sub(r'<figure class="interactive"[^>]* data-labels="([^"]*)".*?</figure>', started, text, flags=re.DOTALL)


def with_drawings(text: str) -> str:
    """Each drawing of a chapter in a box, in which a phone may scroll it instead of shrinking its words."""
    drawing = r'(?<!<div class="drawing">)<svg\b[^>]*style="max-width:\d{3}px[^>]*>.*?</svg>'
    return re.sub(drawing, r'<div class="drawing">\g<0></div>', text, flags=re.DOTALL)


def with_words(index: str, words: dict[str, list[str]]) -> str:
    """Sphinx's search index, in which each of the words leads to its page: a learner types them, an index would not."""
    start = "Search.setIndex("
    content = json.loads(index.removeprefix(start).removesuffix(")"))
    for page, synonyms in words.items():
        entry = [content["docnames"].index(page), "", True]
        for word in synonyms:
            found = content["indexentries"].setdefault(word, [])
            if entry not in found:
                found.append(entry)
    return f"{start}{json.dumps(content, separators=(',', ':'), sort_keys=True)})"


def with_prose_excerpts(script: str) -> str:
    """Sphinx's search script, whose excerpts are of prose, not of code and what it printed."""
    unread = '[".headerlink", "script", "style"'
    return script.replace(f"{unread}]", f'{unread}, ".cell", "figure"]')


def mended(text: str, page: Path, root: Path) -> str:
    """A page of the built book, at its path, as it should be."""
    name = page.relative_to(root).with_suffix("").as_posix()
    text = with_icons(without_unused_scripts(text, name == "search"))
    text = with_sizes(MARKER.sub("", text), picture_size(page))
    text = with_letters(with_exercise_links(with_numbers(with_starts(with_drawings(text)), name), page))
    text = text.replace(
        '<summary><span class="toctree-toggle"',
        '<summary aria-label="Pages of this chapter"><span class="toctree-toggle"',
    ).replace('<summary aria-label="Toggle hidden content">', "<summary>")
    text = text.replace('<meta name="viewport" content="width=device-width, initial-scale=1.0" />', "", 1)
    return text.replace('data-theme="auto">', 'data-theme="light">', 1)  # for readers without scripts


def description(doctree) -> str:
    """The first paragraph of a page that is prose, as a line of at most 160 characters."""
    from docutils import nodes

    for paragraph in doctree.findall(nodes.paragraph):
        words = " ".join(paragraph.astext().split())
        link_only = words.startswith("Open in Colab") or " minutes to read" in words
        if len(words) > 40 and not link_only and not isinstance(paragraph.parent, nodes.Admonition):
            return words if len(words) <= 160 else words[:157].rsplit(" ", 1)[0] + " …"
    return ""


def head(title: str, about: str, address: str, picture: str) -> str:
    """What search engines and previews read: description, canonical address, Open Graph. The title is HTML."""
    title = html.unescape(re.sub(r"<[^>]+>", "", title))
    tags = {"og:title": title, "og:description": about, "og:type": "website", "og:url": address, "og:image": picture}
    lines = [f'<link rel="canonical" href="{html.escape(address)}">']
    if about:
        lines.append(f'<meta name="description" content="{html.escape(about)}">')
    lines += [f'<meta property="{key}" content="{html.escape(value)}">' for key, value in tags.items() if value]
    return "\n".join([*lines, '<meta name="twitter:card" content="summary_large_image">'])
