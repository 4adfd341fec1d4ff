"""A figure with sliders: an ipywidgets control where a kernel runs, a twin that needs none on the page.

The twin is a range input for each setting and one SVG picture for each combination, in a single piece of HTML that
loads nothing and is the same byte for byte whenever it is made from the same figures.
"""

import hashlib
import io
import itertools
import json
import os
import re
from collections.abc import Callable
from html import escape

from blueberry_lib.config import BlueberryError

MOST_FRAMES = 64
SCRIPT = (
    "var f=this.closest('figure'),s=f.querySelectorAll('input'),n=JSON.parse(f.dataset.labels),k=0;"
    "s.forEach(function(i,j){k=k*n[j].length+ +i.value;i.setAttribute('aria-valuetext',n[j][i.value]);"
    "i.nextElementSibling.textContent=n[j][i.value]});"
    "f.querySelectorAll('.frame').forEach(function(e,j){e.hidden=j!=k})"
)


def interactive(draw: Callable, describe: Callable, first: dict | None = None, /, **settings: list) -> None:
    """Show a figure that the reader can move.

    ``draw(**values)`` returns a new matplotlib Figure, ``describe(**values)`` a sentence that says what it shows;
    ``settings`` are the values that each slider steps through, ``first`` those of them that it starts at; unless said,
    a scale starts in its middle, anything else at its first value. With BLUEBERRY_STORE set, as when the book's
    notebooks are stored, the static twin is shown; otherwise a live control. Raises BlueberryError for more than 64
    pictures.
    """
    from IPython.display import HTML, display

    if os.environ.get("BLUEBERRY_STORE"):
        display(HTML(static_twin(draw, describe, settings, first)))
        return
    import ipywidgets
    from matplotlib import pyplot as plt

    def show(**values) -> None:
        figure = draw(**values)
        display(figure)
        plt.close(figure)
        print(describe(**values))

    controls = {}
    for name, values in settings.items():
        labels = [label(value) for value in values]
        kind = ipywidgets.SelectionSlider if numbers(labels) else ipywidgets.ToggleButtons
        options = list(zip(labels, values, strict=True))
        at = (first or {}).get(name, values[start_at(labels)])
        controls[name] = kind(options=options, value=at, description=name.replace("_", " "))
    ipywidgets.interact(show, **controls)


def label(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def numbers(labels: list[str]) -> list[float]:
    """What the labels are as numbers; nothing where one of them is none, as with categories."""
    try:
        return [float(text) for text in labels]
    except ValueError:
        return []


def start_at(labels: list[str]) -> int:
    """Where a slider starts: a scale of more than two, which rises or falls, in its middle, where both ways lead to
    something else; categories, and numbers that the author put into another order, at the first."""
    found = numbers(labels)
    return len(found) // 2 if len(found) > 2 and found in (sorted(found), sorted(found, reverse=True)) else 0


def picture_at(starts: list[int], labels: list[list[str]]) -> int:
    """Which of all pictures, the last slider's fastest, is the one at these places of the sliders."""
    picture = 0
    for at, texts in zip(starts, labels, strict=True):
        picture = picture * len(texts) + at
    return picture


def static_twin(draw: Callable, describe: Callable, settings: dict[str, list], first: dict | None = None) -> str:
    """The figure as HTML: range inputs, and the picture at their start, which is shown until one is moved."""
    combinations = [dict(zip(settings, values, strict=True)) for values in itertools.product(*settings.values())]
    if len(combinations) > MOST_FRAMES:
        raise BlueberryError(f"{len(combinations)} pictures are too many for a page; at most {MOST_FRAMES}")
    labels = [[label(value) for value in values] for values in settings.values()]
    starts = [start_at(texts) for texts in labels]
    for i, (name, values) in enumerate(settings.items()):
        starts[i] = values.index(first[name]) if name in (first or {}) else starts[i]
    shown, frames = picture_at(starts, labels), []
    for i, values in enumerate(combinations):
        caption = escape(describe(**values))
        frames.append(
            f'<div class="frame"{"" if i == shown else " hidden"}>{_svg(draw(**values), caption)}'
            f'<figcaption aria-live="polite">{caption}</figcaption></div>'
        )
    controls = "".join(
        f'<label style="display:flex;gap:.8em;align-items:center;margin:.3em 0">{escape(name.replace("_", " "))} '
        f'<input type="range" min="0" max="{len(texts) - 1}" value="{at}" step="1" '
        f'style="flex:1;max-width:22em;min-height:24px" aria-valuetext="{escape(texts[at])}" '
        f'oninput="{escape(SCRIPT)}"><output>{escape(texts[at])}</output></label>'
        for name, texts, at in zip(settings, labels, starts, strict=True)
    )
    return (
        f'<figure class="interactive" style="margin:1em 0" data-labels="{escape(json.dumps(labels))}" '
        f'data-start="{shown}">'
        f"{controls}{''.join(frames)}</figure>"
    )


def _svg(figure, caption: str) -> str:
    """A figure as inline SVG whose ids depend on its content alone."""
    import matplotlib
    from matplotlib import pyplot as plt

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "blueberry", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    plt.close(figure)
    text = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(?<=\d\.\d{2})\d+", "", tag[0]), text)
    text = re.sub(r">\s+<", "><", text).strip()
    own = "f" + hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'((?:\bid="|url\(#|href="#))', rf"\1{own}-", text)
    style = 'style="max-width:100%;height:auto;background:#fff" role="img"'
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg {style} aria-label="{caption}" \1>', text, count=1)
