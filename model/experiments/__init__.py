"""The paper's tables, with one command: `python -m model experiment NAME --data DIR --seeds N --out DIR`.

One module per table, with an `Experiment` that `cli.EXPERIMENTS` lists. It defines which cells it needs, how to run one
and how to make a table of the finished ones; `cells` stores them, so that none is run twice.
"""
