"""The `truestock` command line, a client of the API. It uses nothing that the server needs.

`commands` has one module for each noun, and `views` prints tables and texts. `files` imports and exports CSV,
`spreadsheets` reads its cells, and `replay` sends the orders of a file.
"""
