"""What `--help` of every benchmark looks like."""

import argparse


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The text as it stands in the script, and the default behind what each option means."""


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help begins with a script's docstring."""
    return argparse.ArgumentParser(description=(doc or "").strip(), formatter_class=_Formatter)
