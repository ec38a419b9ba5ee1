"""The `truestock` command, a client of the API.

Tables are in `views`, CSV in `files`, one module for each noun in `commands`.
"""
