"""`python -m loadtest had`: how much of what users are answered with they had already.

    python -m loadtest had --url http://127.0.0.1:8080 --bundle bundles/mine

Asks a running service for the best ads of users who have a history in the bundle, without and with `exclude_history`.
`had` is the share of the answered ads that are in that history: the user's positives in the train events.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from index_store.bundle.bundle import Bundle
from index_store.bundle.manifest import BundleError
from model.progress.bars import Bar
from monn_hill import Client, RetrievalError

TOP_K = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--url", required=True, help="of the service, which serves the bundle")
    parser.add_argument("--bundle", type=Path, required=True, help="bundle that knows the users and their histories")
    parser.add_argument("--users", type=int, default=1_000, help="users to ask for (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the users (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Prints a sentence, then one JSON object. Exit status: 0 fine, 1 bundle or service cannot be used."""
    try:
        report = had(args.url, Bundle.open(args.bundle), users=args.users, seed=args.seed)
    except (BundleError, RetrievalError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Of the best {TOP_K} ads of {report['users']:,} users they had {report['had']:.1%} already, with "
          f"exclude_history {report['had_with_exclude_history']:.1%}.")
    print(json.dumps(report, allow_nan=False))
    return 0


def had(url: str, bundle: Bundle, *, users: int, seed: int) -> dict[str, Any]:
    """Asks for users drawn at random among those with a history.

    Returns:
        `users`; `had` and `had_with_exclude_history`: shares of the answered ads.

    Raises:
        RetrievalError: the service refuses, or does not answer.
        ValueError: the bundle knows no user with a history, or the URL is none.
    """
    table, ads = bundle.content.users, bundle.content.encoder.item_ids
    known = np.flatnonzero(np.diff(table.history.indptr))
    if not len(known):
        raise ValueError("no user of the bundle has a history; give a bundle of a log with user ids and positives")
    asked = np.random.default_rng(seed).permutation(known)[:users]
    shares = {}
    with Client(url) as client:
        for name, excludes in (("had", False), ("had_with_exclude_history", True)):
            counts = np.zeros(2, np.int64)
            for row in Bar(asked, desc=name, unit="user", leave=False):
                history = {ads[ad].decode() for ad in table.history.row(row)}
                reply = client.retrieve(user_id=table.ids[row].decode(), top_k=TOP_K, exclude_history=excludes)
                counts += sum(ad["ad_id"] in history for ad in reply["ads"]), len(reply["ads"])
            shares[name] = float(counts[0] / counts[1]) if counts[1] else 0.0
    return {"users": len(asked), **shares}
