"""The standing guard: round after round what is new in a log is checked, and each alert is sent once to the right place."""
