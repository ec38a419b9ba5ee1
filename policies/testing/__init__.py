"""The test suites that stand beside rules.

Cases, fixtures, expectations, and the comparison of what was expected with what was decided. Reading the rules that
they test is in `reading`, deciding in `decisions`.
"""
