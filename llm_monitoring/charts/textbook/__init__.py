"""The charts of textbooks: centre and sd of a window count as known, limits come from exact run lengths."""
