"""Do people ask other things than before? Embeddings, two-sample tests, what moved, and the same window after window."""
