"""`make demo`: a bad day on TikTok, played against a temporary Truestock."""
