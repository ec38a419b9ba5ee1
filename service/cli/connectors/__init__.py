"""What `truestock channels` does: with the accounts file, the connectors' tables, the channels and Truestock."""
