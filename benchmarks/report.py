"""benchmarks: one table out of all that was measured, for the terminal, as Markdown and as JSON. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Spread

HEADINGS = ("what", "ours", "beside", "ratio, median (min–max)", "note")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line: a number of ours beside another of the same run; `ratio` None where nothing was measured."""

    section: str
    what: str
    ours: str = ""
    beside: str = ""
    ratio: Spread | None = None
    note: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells as text, in the order of `HEADINGS`."""
        ratio = "" if self.ratio is None else _spread(self.ratio)
        return self.what, self.ours, self.beside, ratio, self.note


def _spread(value: Spread) -> str:
    return f"{figures(value.median)} ({figures(value.low)}–{figures(value.high)})"


def figures(value: float) -> str:
    """Return a positive number with three figures, without an exponent."""
    if value >= 100 or value == 0:
        return f"{value:.0f}"
    decimals = 2
    while value < 10**-decimals * 10 and decimals < 6:
        decimals += 1
    return f"{value:.1f}" if value >= 10 else f"{value:.{decimals}f}"


def seconds(value: Spread) -> str:
    """Return a time in the unit that suits its median."""
    if value.median < 0.1:
        return f"{figures(value.median * 1e3)} ms"
    return f"{figures(value.median)} s"


def as_markdown(rows: Sequence[Row], *, about: str) -> str:
    """Return one table with a line per section."""
    lines = [about, "", f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            lines.append(f"| **{section}** |" + " |" * (len(HEADINGS) - 1))
        lines.append("| " + " | ".join(row.cells) + " |")
    return "\n".join(lines) + "\n"


def as_text(rows: Sequence[Row], *, about: str) -> str:
    """Return the same table in columns."""
    table = [HEADINGS, *(row.cells for row in rows)]
    widths = [max(len(cells[i]) for cells in table) for i in range(len(HEADINGS))]
    lines = [about, "", _line(HEADINGS, widths)]
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            lines += ["", section]
        lines.append(_line(row.cells, widths))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def as_json(rows: Sequence[Row], *, about: str) -> dict[str, object]:
    """Return everything as JSON values."""
    return {"about": about, "rows": [asdict(row) for row in rows]}
