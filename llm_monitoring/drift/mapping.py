"""A map of the questions: similar ones lie close together, what moved is filled and named. Drawing only."""

from __future__ import annotations

import numpy as np

from llm_monitoring.drift.comparison import Comparison
from llm_monitoring.errors import one_of
from llm_monitoring.plotting import AMBER, BLUE, GREEN, INK, MUTE, PAPER, VERMILION, axes, key_below, nothing

MOST_POINTS = 2_000  # points a side; of more every k-th is drawn


def places(comparison: Comparison, moved: np.ndarray, method: str = "pca") -> np.ndarray:
    """Coordinates (kept rows, 2): the plane of the most spread, in which the moved part weighs as much as the rest."""
    one_of("plot_map(method)", method, ["pca", "umap"])
    rows = comparison.pool.unit.astype(np.float64)
    if method == "umap":
        try:
            from umap import UMAP
        except ImportError as error:
            raise ImportError("plot_map(method='umap') needs that package: pip install umap-learn") from error
        return UMAP(random_state=comparison.pool.seed).fit_transform(rows)
    inside = np.isin(comparison.pool.kept, moved)
    weight = np.where(inside, 0.5 / max(inside.sum(), 1), 0.5 / max((~inside).sum(), 1))
    centred = rows - weight @ rows / weight.sum()
    _, _, turn = np.linalg.svd((centred * weight[:, None]).T @ centred)
    plane = centred @ turn[:2].T
    return plane * np.where(plane[np.abs(plane).argmax(axis=0), [0, 1]] < 0, -1, 1)  # the sign is no accident


def draw_map(ax, comparison: Comparison | None, members: tuple[np.ndarray, ...], names: list[str], method: str):
    """Points of before (grey), now (blue rings), and of every topic that moved (filled, a colour and mark each)."""
    with axes(ax, size=(8.4, 5.2)) as ax:
        ax.set_title("Map of the questions: the closer, the more alike")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        if comparison is None:
            nothing(ax, "Too few questions for a map.")
            return ax
        kept = comparison.pool.kept
        current = comparison.current[kept]
        moved = np.concatenate(members) if members else np.array([], int)
        point = places(comparison, moved, method)
        rest = ~np.isin(kept, moved)
        for side, colour, word in ((~current, MUTE, "before"), (current, BLUE, "now, as before")):
            shown = np.flatnonzero(side & rest)
            shown = shown[:: len(shown) // MOST_POINTS + 1]
            face = "none" if word != "before" else colour
            label = f"{word} (n = {int((side & rest).sum()):,})"
            ax.scatter(
                *point[shown].T, s=14, marker="o", facecolors=face, edgecolors=colour, alpha=0.45, lw=0.8, label=label
            )
        marks = zip(members[:4], names, (VERMILION, GREEN, AMBER, INK), "D^sv", strict=False)
        for rows, name, colour, mark in marks:
            inside = point[np.isin(kept, rows)]
            ax.scatter(
                *inside.T,
                s=34,
                marker=mark,
                color=colour,
                edgecolors=PAPER,
                lw=0.6,
                label=f"{name} (n = {len(inside):,})",
            )
        key_below(ax, 2)
    return ax
