"""How an outcome looks in a notebook: a short coloured panel, with a plain-text twin."""

from dataclasses import dataclass
from html import escape

from blueberry_checks.engine.rules import Outcome

COLOURS = {"not started": "#767676", "not yet": "#b86e00", "library": "#2f6fb0", "correct": "#2e8540"}
HEADLINES = {
    "not started": "not started",
    "not yet": "not yet",
    "library": "works, but it is not your tick",
    "correct": "correct",
}


@dataclass(frozen=True)
class Note:
    """A text, as Markdown where it can be shown so."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


@dataclass(frozen=True)
class Panel:
    """An outcome, to be displayed or printed."""

    name: str
    title: str
    outcome: Outcome
    chapter: str = ""
    """The notebook to read again, such as 02_next_token."""

    @property
    def rows(self) -> list[tuple[str, str]]:
        outcome = self.outcome
        rows = [("input", outcome.given), ("expected", outcome.expected), ("got", outcome.got)]
        if outcome.section:
            rows.append(("read again", f"“{outcome.section.replace('-', ' ')}” in chapter {self.name[:2]}"))
        return [(label, text) for label, text in rows if text]

    def __repr__(self) -> str:
        lines = [f"{self.name} {self.title}: {HEADLINES[self.outcome.status]}. {self.outcome.message}"]
        return "\n".join(lines + [f"    {label:<10} {text}" for label, text in self.rows])

    def _repr_html_(self) -> str:
        colour = COLOURS[self.outcome.status]
        cell = '<td style="text-align:left;vertical-align:top;padding:1px 10px 1px 0;'
        link = f'<a href="../notebooks/{self.chapter}.ipynb#{escape(self.outcome.section)}">'
        rows = "".join(
            f'<tr>{cell}white-space:nowrap">{label}</td>{cell}font-family:monospace;overflow-wrap:anywhere">'
            + (f"{link}{escape(text)}</a>" if label == "read again" and self.chapter else escape(text))
            + "</td></tr>"
            for label, text in self.rows
        )
        table = f'<table style="border:0;margin:4px 0 0 0"><tbody>{rows}</tbody></table>' if rows else ""
        return (
            f'<div role="status" style="border-left:5px solid {colour};padding:4px 12px;margin:4px 0">'
            f"<strong>{self.name} {escape(self.title)}: {HEADLINES[self.outcome.status]}.</strong> "
            f"{escape(self.outcome.message)}{table}</div>"
        )
