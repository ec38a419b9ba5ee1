"""Measurements of Truestock: load and ratios of arms that take turns in one run. `python -m bench list` names them."""
