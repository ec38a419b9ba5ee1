"""Truestock's decisions: pure Python, without clock, socket, file watching, database, log or metric."""
