"""A log with a hundred user fields and sixty ad fields goes the same way as one with a few."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa

from index_store.bundle.bundle import Bundle
from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from model.data.load import load_dataset
from model.data.tables import write_folder
from model.export.seal import export
from model.training.trainer import train
from service.contract.parsing import UNLIMITED, parse_request, to_query
from service.retrieval.retriever import Retriever
from tests.model.tiny_runs import TINY, golden_answers_of

USERS, ADS = 40, 60


def side(prefix, rows, counts, rng):
    """Fields of a table, (categorical, multi, dense) many, and its columns."""
    columns, fields = {}, []
    for kind, count in zip(("categorical", "multi", "dense"), counts, strict=True):
        for at in range(count):
            name = f"{prefix}_{kind}_{at}"
            fields.append(FieldSpec(name, kind))
            if kind == "dense":
                columns[name] = rng.normal(size=rows).astype(np.float32)
            elif kind == "categorical":
                columns[name] = [f"v{code}" for code in rng.integers(0, 5, rows)]
            else:
                columns[name] = [[f"v{code}" for code in np.unique(rng.integers(0, 5, rng.integers(0, 4)))]
                                 for _ in range(rows)]
    return tuple(fields), columns


def wide_folder(folder):
    rng = np.random.default_rng(0)
    user_fields, users = side("user", USERS, (70, 15, 15), rng)
    ad_fields, ads = side("ad", ADS, (40, 10, 10), rng)
    spec = FeatureSpec(user_fields, ad_fields, (TaskSpec("click"),), "sampled",
                       (KeyFamily("also", "ad_id", "co_click", 5),
                        *(KeyFamily(f"match{at}", f"ad_categorical_{at}", "match") for at in range(6))),
                       history_ordered=False)
    user_ids, ad_ids = [f"u{row:02d}" for row in range(USERS)], [f"a{row:02d}" for row in range(ADS)]
    clicks = [(user, ad) for user in user_ids for ad in rng.permutation(ad_ids)[:6]]
    events = pa.table({"user_id": [c[0] for c in clicks], "ad_id": [c[1] for c in clicks],
                       "timestamp": [0] * len(clicks), "click": [1] * len(clicks)})
    write_folder(folder, spec, pa.table({"user_id": user_ids, **users}), pa.table({"ad_id": ad_ids, **ads}), events)
    return spec


def test_a_log_of_many_fields_is_trained_exported_and_served(tmp_path, tolerance=1e-4):
    spec = wide_folder(tmp_path / "data")
    config = replace(TINY, model=replace(TINY.model, table_width=4))
    run = train(tmp_path / "data", load_dataset(tmp_path / "data"), config, tmp_path / "run", resume=False)
    export(run, tmp_path / "bundle", {}, half=False)
    golden = golden_answers_of(tmp_path / "bundle")
    assert all(answer.ads and answer.problem is None and answer.difference <= tolerance for answer in golden)
    everything = {field.name: {"dense": 0.5, "categorical": "v3", "multi": ["v1", "v4"]}[field.kind]
                  for field in spec.user_fields}
    found = asyncio.run(asked(tmp_path / "bundle", {"user_id": "new", "user_features": everything, "top_k": 5}))
    assert len(found.ad_ids) == 5
    opened = json.loads((tmp_path / "bundle" / "manifest.json").read_bytes())
    assert opened["counts"] == {"items": ADS, "users": USERS}


async def asked(folder, request):
    retriever = Retriever(Bundle.open(folder))
    try:
        return await retriever.retrieve(to_query(parse_request(request), retriever.bundle.manifest, UNLIMITED))
    finally:
        retriever.close()
