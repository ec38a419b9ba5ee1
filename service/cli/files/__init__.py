"""The kinds of CSV files of catalog and stock that `truestock import` reads and `truestock export` writes."""
