"""What the property tests of formats draw, a file for each dialect."""
