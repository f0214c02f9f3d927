"""What lies on what in a figure that was drawn."""

import numpy as np


def hidden_by_words(figure):
    """Words that lie on marks, and words without a ground of their own that an upright line goes through.

    An upright line without a mark is an event: a change, an alert, a limit.
    """
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    found = []
    for ax in figure.findobj(Axes):
        texts = [text for text in ax.findobj(Text) if text.get_visible() and text.get_text().strip()]
        boxes = [(text, text.get_window_extent().shrunk(0.96, 0.8)) for text in texts]
        for line in ax.lines:
            at = np.asarray(line.get_transform().transform(np.asarray(line.get_xydata(), float)))
            at = at[np.isfinite(at).all(axis=1)]
            marked = line.get_marker() not in ("None", "", None)
            upright = not marked and len(at) == 2 and abs(at[0, 0] - at[1, 0]) < 0.5
            for text, box in boxes:
                inside = (at > (box.x0, box.y0)).all(axis=1) & (at < (box.x1, box.y1)).all(axis=1)
                through = upright and box.x0 < at[0, 0] < box.x1 and at[:, 1].min() < box.y0 < box.y1 < at[:, 1].max()
                if (marked and inside.any()) or (through and text.get_bbox_patch() is None):
                    found.append(text.get_text())
    return found
