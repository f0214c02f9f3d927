"""Flagged answers drawn for people to read, their verdicts on disk, and the widget that takes them."""
