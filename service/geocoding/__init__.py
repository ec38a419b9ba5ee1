"""Coordinates of destinations by country, region and postal code, from data that is installed with the service."""
