"""What is raised for a setting that cannot work."""


class ConfigError(ValueError):
    """A setting that cannot work; the message has its name, its value and what to do."""
