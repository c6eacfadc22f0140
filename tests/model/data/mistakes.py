"""Deliberate mistakes in a log and a declaration, and what the message of each must hold; docs/data.md lists them."""

import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

EVENTS = """user_id,item_id,time,click,rating,city
ann,1,1700000000,1,5,Delft
ann,2,1700000060,0,3,Delft
bob,1,1700000300,0,4,Essen
eve,3,1700000900,1,2,Cadiz
"""
USERS = {"user_id": ["ann", "bob", "eve"], "country": ["nl", "de", None], "age": [34.0, None, 29.5],
         "city": ["Delft", "Essen", "Cadiz"]}
ADS = {"ad_id": ["1", "2", "3"], "category": ["bikes", "garden", "bikes"], "price": [19.9, 450.0, 35.0]}
LOG = {"user_id": ["ann", "ann", "bob", "eve"], "ad_id": ["1", "2", "1", "3"],
       "timestamp": [1, 2, 3, 4], "click": [1, 0, 0, 1]}
DECLARATION = {
    "user_fields": [{"name": "country", "kind": "categorical"}],
    "item_fields": [{"name": "category", "kind": "categorical"}, {"name": "price", "kind": "dense"}],
    "tasks": [{"name": "click"}], "negatives": "impressions",
    "key_families": [{"name": "category", "item_field": "category", "via": "match"}]}


@dataclass(frozen=True)
class Mistake:
    """A command that fails.

    Attributes:
        what: the mistake in a few words.
        says: what the message holds: file, column and row where there are any, and what to do.
        command: after `python -m model data`, before `--out out`.
        files: name -> text or bytes of the files in the folder that it runs in.
    """

    what: str
    says: str
    command: tuple[str, ...] = ("infer", "clicks.csv")
    files: dict | None = None

    def prepare(self, folder):
        """Writes the files."""
        for name, content in (self.files or {"clicks.csv": EVENTS}).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, dict):
                pq.write_table(pa.table(content), path)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())


def declared(what, says, *, users=USERS, log=LOG, text=None, **changes):
    """A mistake in a declaration, or in tables that one declares."""
    declaration = text or json.dumps({**DECLARATION, **changes})
    return Mistake(what, says, ("parquet", "log"), {
        "log/users.parquet": users, "log/ads.parquet": ADS, "log/events.parquet": log,
        "log/features.json": declaration})


MISTAKES = (
    Mistake("the name of a format as a source", "there is no source 'csv'; to read any table: python -m model data "
                                                "infer",
            ("csv", "clicks.csv")),
    Mistake("a slip in the name of a source", "there is no source 'infr'; did you mean 'infer'?",
            ("infr", "clicks.csv")),
    Mistake("a slip in the name of a file", "clicks.cvs does not exist; did you mean 'clicks.csv'?",
            ("infer", "clicks.cvs")),
    Mistake("a spreadsheet", "clicks.xlsx is a file of kind 'xlsx' by its name; give csv, tsv",
            ("infer", "clicks.xlsx"), {"clicks.xlsx": b"PK\x03\x04\0\0,\n"}),
    Mistake("a file without a header", "clicks.csv has no header: its first line 'ann,1,1700000000,1,5,Delft' holds "
                                       "the "
            "number 1; begin it with the names", files={"clicks.csv": EVENTS.split("\n", 1)[1]}),
    Mistake("a comma too many", "clicks.csv cannot be read: line 3: Expected Number of Columns: 6 Found: 7 "
            "('ann,2,1700000060,0,3,Delft,7')", files={"clicks.csv": EVENTS.replace("3,Delft", "3,Delft,7")}),
    Mistake("text that is not UTF-8", "clicks.csv cannot be read: line 5: Invalid unicode",
            files={"clicks.csv": EVENTS.replace("Cadiz", "Cádiz").encode("latin-1")}),
    Mistake("two columns of one name", "clicks.csv has the column 'city' twice; keep one, or rename it",
            files={"clicks.csv": EVENTS.replace("rating", "city")}),
    Mistake("a file without rows", "clicks.csv holds no row", files={"clicks.csv": EVENTS.split("\n")[0] + "\n"}),
    Mistake("no column of ad ids", "no column is named like the id of an ad among user_id, xyz, time, click, rating, "
                                   "city; "
            "name it with --ad-id COLUMN", files={"clicks.csv": EVENTS.replace("item_id", "xyz")}),
    Mistake("a slip in the name of a column", "clicks.csv has no column 'itemid'; did you mean 'item_id'?",
            ("infer", "clicks.csv", "--ad-id", "itemid")),
    Mistake("a row without a user", "clicks.csv: column 'user_id', row 2: the user is missing, as in 1 of 4 rows; "
                                    "leave "
            "such rows out by a query", files={"clicks.csv": EVENTS.replace("bob", "")}),
    Mistake("ratings as labels", "clicks.csv: column 'rating', row 0: value 5 is not a label; labels are 0 or 1",
            ("infer", "clicks.csv", "--label", "rating")),
    Mistake("a label that is missing", "clicks.csv: column 'click', row 3: the label is missing; fill it in",
            files={"clicks.csv": EVENTS.replace("900,1,2", "900,,2")}),
    Mistake("cities as times", "clicks.csv: column 'city', row 0: value 'Delft' is text, and no time; name a column of "
                               "times", ("infer", "clicks.csv", "--time", "city")),
    Mistake("a user twice", "users.csv: column 'user_id', row 1: value 'ann' is already the id of row 0; drop or merge",
            ("infer", "log"), {"log/events.csv": EVENTS, "log/users.csv": "user_id,age\nann,7\nann,8\nbob,9\neve,9\n"}),
    Mistake("ids written in two ways", "ads.csv: no item_id of log/events.csv is in its column 'item_id': the events "
                                       "say "
            "'1', it has 'ad-1'; write ids alike", ("infer", "log"),
            {"log/events.csv": EVENTS.replace("2,17", "1,17").replace("3,17", "1,17"),
             "log/ads.csv": "item_id,price\nad-1,7\n"}),
    Mistake("a slip in a query", 'the query cannot be read: Binder Error: Referenced column "clik" not found',
            ("infer", "SELECT clik FROM 'clicks.csv'")),
    declared("a comma too many in JSON", "features.json declares no fields: Expecting property name enclosed in double "
             "quotes: line 1 column 20", text='{"user_fields": [],}'),
    declared("a slip in a key", "features.json: the declaration has the unknown key 'user_feilds'; did you mean "
             "'user_fields'?", user_feilds=[]),
    declared("a kind that there is not", "kind 'category' of 'country' is unknown; did you mean 'categorical'?",
             user_fields=[{"name": "country", "kind": "category"}]),
    declared("a column that there is not", "users.parquet: column 'contry' is missing, the file has ['user_id', "
             "'country', 'age', 'city']; did you mean 'country'?",
             user_fields=[{"name": "contry", "kind": "categorical"}]),
    declared("text as a dense field", "users.parquet: column 'city' has type string, which cannot be read as float",
             user_fields=[{"name": "city", "kind": "dense"}]),
    declared("fractions as a categorical field", "users.parquet: column 'age', row 2: value 29.5 is not a whole "
                                                 "number; "
             "ids, categorical values and labels are text or integers", user_fields=[{"name": "age", "kind":
                                                                                     "categorical"}]),
    declared("a missing number", "users.parquet: column 'age', row 1: value None is not a finite 32-bit number; "
                                 "declare "
             '{"name": "age", "kind": "dense", "optional": true}', user_fields=[{"name": "age", "kind": "dense"}]),
    declared("a key family of a field that there is not", "key family 'c' uses 'categry', which is not a categorical "
                                                          "or "
             "multi item field; did you mean 'category'?",
             key_families=[{"name": "c", "item_field": "categry", "via": "match"}]),
    declared("negatives that there are not", "negatives 'impression' is unknown; did you mean 'impressions'?",
             negatives="impression"),
    declared("impressions as positives", "events.parquet: row 1 has label 0 in all of ['click'], but features.json "
                                         "says "
             'negatives "sampled"', negatives="sampled"),
    declared("a context field that no event has", "events.parquet: column 'hour' is missing, the file has ['user_id', "
             "'ad_id', 'timestamp', 'click']; add it",
             context_fields=[{"name": "hour", "kind": "categorical", "model": True}]),
    declared("numbers as context", "the model is to read the context field 'hour', which is dense; declare it "
             "categorical, and cut numbers into ranges",
             context_fields=[{"name": "hour", "kind": "dense", "model": True}]),
    declared("a position to serve that no event has", "features.json says to serve position as '0', but no row of "
             "events.parquet has this value; use one that has, such as 1, 2", log={**LOG, "position": [1, 2, 1, 2]},
             context_fields=[{"name": "position", "kind": "categorical", "model": True, "serve_as": "0"}]),
    declared("an event of an unknown ad", "events.parquet: column 'ad_id', row 3: value '9' is not in ads.parquet; "
                                          "add its "
             "row there", log={**LOG, "ad_id": ["1", "2", "1", "9"]}),
)
