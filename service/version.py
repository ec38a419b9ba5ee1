"""The version of this software, which every stored decision names."""

from importlib.metadata import version

VERSION = version("truestock")
