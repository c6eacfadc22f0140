"""What a log declares: its fields, tasks, key families and context, and the values that they may have."""
