"""The embedded PostgreSQL: cluster, server process, guard process, and where its data is kept."""
