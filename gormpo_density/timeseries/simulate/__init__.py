"""Signals made by the package, with anomalies or classes that are known."""

from gormpo_density.timeseries.simulate.ecg import ECGConfig, simulate_ecg
from gormpo_density.timeseries.simulate.injection import (
    INJECTED_KINDS,
    Injected,
    inject_anomalies,
)
from gormpo_density.timeseries.simulate.power_converter import (
    PowerConverterConfig,
    simulate_power_converter,
)
from gormpo_density.timeseries.simulate.respiration import (
    RespirationConfig,
    simulate_respiration,
)
from gormpo_density.timeseries.simulate.respiratory_events import (
    RespiratoryEvents,
    inject_respiratory_events,
)
from gormpo_density.timeseries.simulate.shapes import ShapesConfig, simulate_shapes

__all__ = [
    "INJECTED_KINDS",
    "ECGConfig",
    "Injected",
    "PowerConverterConfig",
    "RespirationConfig",
    "RespiratoryEvents",
    "ShapesConfig",
    "inject_anomalies",
    "inject_respiratory_events",
    "simulate_ecg",
    "simulate_power_converter",
    "simulate_respiration",
    "simulate_shapes",
]
