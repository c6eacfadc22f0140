"""The demo: from an ad log to answered requests, each step as the command that a person would type."""
