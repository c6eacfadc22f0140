"""What has changed since a bundle was sealed, laid over it."""
