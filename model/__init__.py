"""The offline job: tables, MoNN, the HILL tree, training, evaluation and export. Never imports the service."""
