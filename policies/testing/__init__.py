"""Test suites for rules.

Cases, fixtures, expectations, and the comparison of expected and actual answers. Reading the rules under test is in
`reading`; deciding is in `decisions`.
"""
