"""More labelled series from few: synthetic rows that are added to the real ones."""
