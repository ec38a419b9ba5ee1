"""Orders whose lines have restrictions or groups: their parts placed at locations, and what is short of them.

Orders without either are planned by SKU, in `policies.decisions.planning.plans` and `policies.decisions.order_plans`.
"""
