"""Forecasts of request counts with calibrated quantiles: pure, from what was counted, silent when that is too little."""

from kserve_ext.policy.forecast.calibration import LEVELS
from kserve_ext.policy.forecast.forecaster import Forecast, ForecastSettings, ForecastState, forecast, observe, start
from kserve_ext.policy.forecast.history import History

__all__ = ["LEVELS", "Forecast", "ForecastSettings", "ForecastState", "History", "forecast", "observe", "start"]
