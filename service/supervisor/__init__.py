"""The parent process: starts and replaces workers, follows the pointer, checks and promotes bundles."""
