"""Load tests with Locust: the shop that its users buy from, the run of `python -m bench load`. The users themselves are
in `bench/locustfile.py`.
"""
