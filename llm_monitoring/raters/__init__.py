"""One rater's scores against another's: a judge against people, a new judge against the old. Arrays in, results out."""
