"""Benchmarks of anomaly detection in time series, one module for each part."""
