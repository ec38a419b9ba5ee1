"""PostgreSQL: pool, statements, tables, migrations, and the change horizon.

No business; `embedded` runs a server of its own.
"""
