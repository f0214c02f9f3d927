"""Sample and judge: a rubric, a judge that may fail, and rows that say so."""
