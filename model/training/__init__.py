"""Training: runs, the trainer, its objective and losses, checkpoints, warm starts, distillation, node-pair loss."""
