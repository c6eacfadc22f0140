"""Sources: convert logs to the tables and the declaration of `model.data`; the synthetic world and its truth."""
