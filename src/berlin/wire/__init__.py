"""Bytes and values: framing, formats, templates. No I/O: nothing here knows a network or a loop."""
