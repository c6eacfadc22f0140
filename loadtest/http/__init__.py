"""Load over HTTP: open-loop rates, locust users, fuzzing by the OpenAPI document."""
