"""Two hosts of several workers on real engines, attacked and compared: `make fleet`."""
