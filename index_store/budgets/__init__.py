"""Budgets of campaigns: what was spent, how fast it may be spent, and whom a campaign passes."""
