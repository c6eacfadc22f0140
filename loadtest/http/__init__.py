"""Load over HTTP: open-loop rates, locust users, fuzzing from the OpenAPI document."""
