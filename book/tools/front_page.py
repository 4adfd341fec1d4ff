"""A Sphinx extension: the parts of the first page that are made when the book is built.

``{live-models}`` is the box with the two models (``book/_templates/live.html``), with what they wrote and drew earlier
for readers without JavaScript. ``{checker-score}`` adds up how the checkers did. ``{chapter-cards}`` makes a card for
every chapter of ``_toc.yml``, with the minutes its first cell states and its first picture; ``book/cards.json`` says in
a line what happens there, and names the chapters that are planned. So no chapter is called finished which is not there.
"""

import base64
import html
import io
import json
import re
from pathlib import Path

import jinja2
import yaml
from docutils import nodes
from docutils.parsers.rst import Directive
from page_text import with_starts
from PIL import Image

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 400, 225  # of a card's picture, in pixels
STEPS = ("0", "32", "128", "512")


def read(path: str):
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def raw(text: str) -> list[nodes.Node]:
    return [nodes.raw("", text, format="html")]


class LiveModels(Directive):
    """The two models of the first page."""

    def run(self) -> list[nodes.Node]:
        self.state.document.settings.env.note_reread()
        return raw(live_box(read("book/records/web_models.json"), read("book/_static/web/still.json")))


def live_box(record: dict, still: dict) -> str:
    moments = []
    for step in STEPS:
        loss = f"{record['text'][step]['loss']:.2f}"
        words = f"after {step} steps, loss {loss}" if step != "0" else f"before the first step, loss {loss}"
        moments.append({"step": int(step), "loss": loss, "words": words})
    megabytes = {"text": f"{record['text'][STEPS[-1]]['bytes'] / 1e6:.1f}"}
    template = jinja2.Template((ROOT / "book/_templates/live.html").read_text(encoding="utf-8"), autoescape=True)
    return template.render(moments=moments, still=still, megabytes=megabytes)


class CheckerScore(Directive):
    """How many planted mistakes the checkers of the exercises caught."""

    def run(self) -> list[nodes.Node]:
        self.state.document.settings.env.note_reread()
        return raw(f"<p>{checker_score(read('book/records/exercises.json'))}</p>")


def checker_score(scores: dict[str, dict]) -> str:
    total = {key: sum(score[key] for score in scores.values()) for key in ("planted", "caught", "named")}
    return (
        f"<strong>Exercises with a checker that is tested itself.</strong> {total['planted']:,} wrong answers were "
        f"planted in {len(scores)} exercises. The checkers reject {total['caught']:,} of them, and for "
        f"{total['named']:,} they name the very mistake."
    )


class ChapterCards(Directive):
    """All chapters, part by part."""

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        env.note_reread()
        return raw(cards(Path(env.app.outdir) / "_static" / "cards"))


def cards(pictures: Path) -> str:
    """The HTML of the cards; their pictures are written into a folder."""
    toc, told = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")), read("book/cards.json")
    there = {}
    for part in toc["parts"]:
        for chapter in part["chapters"]:
            if (ROOT / f"{chapter['file']}.ipynb").exists():
                there.setdefault(part["caption"], []).append(Path(chapter["file"]).name)
    lines = []
    for part in dict.fromkeys([*told, *there]):
        about, finished = told.get(part, {}), there.get(part, [])
        planned = [name for name in about if name not in finished]
        lines.append(f'<p class="cards-part">{html.escape(part)}</p>')
        if finished:
            lines += [
                '<div class="cards">',
                *(card(name, about.get(name, ""), pictures) for name in finished),
                "</div>",
            ]
        if planned:
            names = "; ".join(f"{name[:2]} {html.escape(about[name].rstrip('.'))}" for name in planned)
            lines.append(f'<p class="cards-planned"><em>Planned:</em> {names}.</p>')
    return "\n".join(lines)


def card(name: str, about: str, pictures: Path) -> str:
    notebook = read(f"notebooks/{name}.ipynb")
    opening = "".join(notebook["cells"][0]["source"])
    title, minutes = re.search(r"^# (.+)", opening)[1], re.search(r"(\d+) minutes to read", opening)
    file = write_picture(notebook, pictures, name)
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    image = f'<img src="../_static/cards/{file}" alt="A figure of this chapter" {size} loading="lazy">' if file else ""
    time = f'<span class="minutes">{minutes[1]} minutes to read</span>' if minutes else ""
    return (
        f'<a class="card-link" href="../notebooks/{name}.html">{image}<span class="card-title">{name[:2]} · '
        f'{html.escape(title)}</span>{time}<span class="card-about">{html.escape(about)}</span></a>'
    )


def write_picture(notebook: dict, folder: Path, name: str) -> str | None:
    """Write the first picture of a notebook; returns the file's name, None where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, found in pictures_of(notebook):
        if kind == "svg":
            (folder / f"{name}.svg").write_text(found, encoding="utf-8")
            return f"{name}.svg"
        image = Image.open(io.BytesIO(base64.b64decode(found))).convert("RGBA")
        image.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        canvas = Image.new("RGB", (WIDTH, HEIGHT), "white")
        canvas.paste(image, ((WIDTH - image.width) // 2, (HEIGHT - image.height) // 2), image)
        canvas.quantize(64).save(folder / f"{name}.png", optimize=True)
        return f"{name}.png"
    return None


def pictures_of(notebook: dict):
    """("svg", text) or ("png", base64) of each picture, in the order of the page."""
    for cell in notebook["cells"]:
        texts = ["".join(cell["source"])] if cell["cell_type"] == "markdown" else []
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                yield "png", "".join(data["image/png"])
            texts.append("".join(data.get("text/html", "")))
        for text in map(shown, texts):
            if drawn := re.search(r"<svg\b.*?</svg>", text, re.DOTALL):
                yield "svg", alone(drawn[0])
            if embedded := re.search(r"data:image/png;base64,([\w+/=]+)", text):
                yield "png", embedded[1]


def shown(text: str) -> str:
    """HTML without the pictures of a figure with sliders that are hidden when a page opens."""
    return re.sub(r'<div class="frame" hidden>.*?</figcaption></div>', "", with_starts(text), flags=re.DOTALL)


def alone(svg: str) -> str:
    """An SVG element as a file of its own."""
    opening, rest = svg.split(">", 1)
    opening = re.sub(r'\s(?:width|height)="[^"]*"', "", opening)
    if "xmlns=" not in opening:
        opening = opening.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    if "xlink:" in svg and "xmlns:xlink" not in opening:
        opening = opening.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1)
    return f"{opening}>{rest}"


def setup(app) -> dict:
    app.add_directive("live-models", LiveModels)
    app.add_directive("chapter-cards", ChapterCards)
    app.add_directive("checker-score", CheckerScore)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
