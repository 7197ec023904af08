"""An augmentation run: configuration, data, arms, tables, figures and report."""
