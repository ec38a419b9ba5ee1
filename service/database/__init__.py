"""PostgreSQL: connection pool, statements, tables, migrations and the change horizon.

Contains no business: each domain has its own SQL in its `_store` module. `embedded` runs a PostgreSQL server.
"""
