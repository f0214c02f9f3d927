"""From a log to an incident folder: notebooks executed, results as JSON, one page to read.

`folder` names and keeps the files, `notebooks` executes, `outcome` and `story` turn results into sentences, `figures`
draws, `page` writes HTML, `run` is the whole road (`report`), `verifying` walks it again and compares.
"""
