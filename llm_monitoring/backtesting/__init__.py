"""Back-test: what a plan would have seen, missed and falsely reported on a past log."""
