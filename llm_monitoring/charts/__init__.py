"""Control charts: how often they alarm for nothing is stated, and kept."""
