"""Values in and out: templates, functions, forms, and where a value is taken from."""
