"""The argument parser that every command of this folder starts from."""

from __future__ import annotations

import argparse


def argument_parser(documentation: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help text is a module's documentation with its line breaks."""
    return argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
