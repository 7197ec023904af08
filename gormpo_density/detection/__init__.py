"""A detection run: configuration, data, evaluation, tables, figures and report."""
