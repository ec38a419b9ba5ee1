"""One service of several processes: the first one starts the workers, sees to them, and answers `/metrics` for all.

What one process does is in `service.app.application`.
"""
