"""The tables of the configuration file, where they are not in `schema`."""
