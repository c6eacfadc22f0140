"""A replayed day of campaigns that share a market: what pacing spends and wins."""
