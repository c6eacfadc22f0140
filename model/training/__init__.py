"""Training: the trainer, its schedule and reports, weights of a stack, taught nodes, normalized entropy, log checks."""
