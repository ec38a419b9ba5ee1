"""Benchmarks of Truestock as ratios of variants that run in turns. `python -m bench list` lists them."""
