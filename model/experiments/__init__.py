"""The paper's tables by one command: `python -m model experiment NAME --data DIR --seeds N --out DIR`.

One module a table, with an `Experiment` that `cli.EXPERIMENTS` lists. It says which cells it needs, how one is run and
how the finished ones become a table; `cells` keeps them, so that none is run twice.
"""
