"""local: a picture of a release: every noisy number with its 95 % interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path


def plot_release(release: dict[str, Any], path: Path) -> Path:
    """Draw one panel for each noisy column of a release with one group key, and return the PNG's path."""
    names = [column["name"] for column in release["columns"]]
    noisy = [name for name in names if name in release["intervals"]]
    labels = [str(row[0]) for row in release["rows"]]
    figure, panels = plt.subplots(1, len(noisy), figsize=(5.2 * len(noisy), 0.32 * len(labels) + 1.6), sharey=True)
    for panel, name in zip([panels] if len(noisy) == 1 else panels, noisy, strict=True):
        values = [row[names.index(name)] for row in release["rows"]]
        for place, (value, ends) in enumerate(zip(values, release["intervals"][name], strict=True)):
            if value is None or ends is None:
                words = "no value" if value is None else f"{value:,} (no interval)"
                # At the left edge of the panel, whatever its scale is.
                panel.text(0.02, place, words, transform=panel.get_yaxis_transform(), va="center", color="#8a4b2d")
                continue
            panel.plot(ends, [place, place], color="#7a93ac", linewidth=3, solid_capstyle="round")
            panel.plot([value], [place], "o", color="#1b3a57", markersize=5)
        panel.set_yticks(range(len(labels)), labels)
        panel.set_xlabel(f"{name} (noisy, with 95 % interval)")
        panel.grid(axis="x", color="#dddddd", linewidth=0.6)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
    figure.axes[0].invert_yaxis()
    figure.suptitle(f"{release['cleanroom_name']}, {release['template_name']}: epsilon {release['price']['epsilon']:g}")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
