"""Readers, one a format: each turns files into a `Series`, a `Collection` or labelled arrays."""
