"""Time series: data, windows, baselines, detector, metrics."""
