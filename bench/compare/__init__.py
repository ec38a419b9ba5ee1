"""Compares the service of the working tree with that of another revision, under the same load."""
