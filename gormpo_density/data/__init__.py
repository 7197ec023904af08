"""Offline data: where it comes from, how it is split, and how it is corrupted on purpose."""
