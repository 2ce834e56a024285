"""What a study will cost before it runs: short cells are timed, every cell is priced, the schedule is played through.

prices     what each stage of a cell takes, measured, and what a cell of any length then costs
calibrate  the short cells, run by the engine that runs studies
schedule   the cells of a plan on the cluster's slots, and what comes of it
"""

from sweeps.forecast.calibrate import Calibration, CalibrationError, calibrated, read_calibration
from sweeps.forecast.schedule import Forecast, forecast

__all__ = ["Calibration", "CalibrationError", "Forecast", "calibrated", "forecast", "read_calibration"]
