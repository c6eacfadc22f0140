"""Ads and users that change while two replicas answer, by a runbook."""
