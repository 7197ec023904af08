"""MOPO with calibrated density penalties."""
