"""The command `surgicalft`: a topic each for what is done from a shell; `surgicalft TOPIC --help` says more."""

import argparse
from collections.abc import Sequence

from surgicalft.cli import data, pair, reproduce, results, which_block

TOPICS = (
    which_block,
    reproduce,
    pair,
    results,
    data,
)  # modules with NAME, ABOUT, add(parser) and run(options, parser)


def main(argv: Sequence[str] | None = None) -> int:
    """0 where all went well, 1 where what was asked for failed, 2 where the command is wrong."""
    parser = argparse.ArgumentParser(prog="surgicalft", description="Surgical fine-tuning.")
    topics = parser.add_subparsers(dest="topic", required=True)
    parsers = {}
    for topic in TOPICS:
        parsers[topic.NAME] = topics.add_parser(
            topic.NAME, help=topic.ABOUT, description=topic.ABOUT
        )
        topic.add(parsers[topic.NAME])
    options = parser.parse_args(argv)
    chosen = next(topic for topic in TOPICS if options.topic == topic.NAME)
    return int(chosen.run(options, parsers[options.topic]))
