"""The `truestock` command line, a client of the API. It uses nothing that the server needs.

`commands` has one module for each noun, `views` prints tables and texts, `files` reads CSV.
"""
