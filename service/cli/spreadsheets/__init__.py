"""CSV as spreadsheets write it: rows, and cells as text and as values. What the columns mean is in `files`."""
