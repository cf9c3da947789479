"""What a recipe may say, and its compiled form: tables, pointers, templates, steps. No I/O."""
