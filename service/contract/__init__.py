"""The contract: request and reply schemas, parsing, errors."""
