"""The embedded PostgreSQL: cluster, server process, guard process and data folder.

Connections, tables and migrations are in `database`.
"""
