"""The version of this software, stored with every decision."""

from importlib.metadata import version

VERSION = version("truestock")
