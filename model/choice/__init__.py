"""Settings of a run, chosen on a hold-out of its train events within a budget of time."""
