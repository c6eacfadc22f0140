"""Speed is never reported without quality: the demo, locust users and the bench. `python -m loadtest --help`."""
