"""Changes to a bundle after which a golden answer no longer holds."""

import json

import numpy as np


def other_scorer(writer):
    """Makes the scorer's towers another pair, so that no golden answer holds any more."""
    writer.array("tree/embeddings_3.npy", np.load(writer.path("tree/embeddings_3.npy")) + np.float32(1))


def other_answer(writer):
    """Swaps an ad of the second golden answer for one that no search returns."""
    golden = json.loads(writer.path("golden.json").read_text())
    golden[1]["ads"][3]["ad_id"] = "ad-none"
    writer.json("golden.json", golden)


def refused_request(writer):
    writer.json("golden.json", [{"request": {"user_id": "u", "diversity": True}, "ads": []}])
