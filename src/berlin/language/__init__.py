"""The recipe language and its compiled form: tables, pointers, templates, steps. No I/O."""
