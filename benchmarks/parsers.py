"""What `--help` of every benchmark looks like."""

import argparse
from pathlib import Path


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The text as it stands in the script, and the default behind what each option means."""


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help begins with a script's docstring."""
    return argparse.ArgumentParser(description=(doc or "").strip(), formatter_class=_Formatter)


def parse_repeated(doc: str | None) -> argparse.Namespace:
    """`repetitions` and `out`, the options of a benchmark that has no others."""
    parser = parser_of(doc)
    parser.add_argument("--repetitions", type=int, default=5, help="that are counted")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="a directory")
    options = parser.parse_args()
    if options.repetitions < 1:
        parser.error("--repetitions must be positive")
    return options
