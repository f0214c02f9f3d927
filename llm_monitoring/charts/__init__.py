"""Control charts whose rate of false alarms is stated, and kept."""
