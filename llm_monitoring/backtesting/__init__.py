"""Back-test: what a plan would have seen, missed and told for nothing on a log of the past."""
