"""Services that take long to install, each in an environment of its own: `make test-heavy`."""
