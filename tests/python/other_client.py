"""Another client of a Delta table, on delta-rs: it adds rows, tidies the table and restores it.

usage: other_client.py TABLE [--s3 ENDPOINT]

Says `ready`, and then answers lines on standard input by lines of JSON:
  append FIRST ROWS    adds rows whose `id` counts from FIRST and whose other columns are null: the number of rows
  compact              OPTIMIZE: how many files it replaced
  vacuum HOURS         VACUUM of every file that no version of the last so many hours names, committed or never: the files it deleted
  restore VERSION      RESTORE: the version that did it
  forget               writes a checkpoint of the log and deletes the entries before it: how many entries are left
  versions             how many rows each version has, by its number
What fails is answered by {"error": reason}.
"""

import argparse
import json
import os
import pathlib
import sys

import pyarrow
from deltalake import DeltaTable, write_deltalake

parser = argparse.ArgumentParser()
parser.add_argument("table")
parser.add_argument("--s3")
options = parser.parse_args()
storage = None
if options.s3:
    storage = {"AWS_ENDPOINT_URL": options.s3, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    storage |= {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


def table(version=None):
    return DeltaTable(options.table, version=version, storage_options=storage)


def append(first, rows):
    columns = pyarrow.schema(table().schema().to_arrow())
    ids = pyarrow.array(range(first, first + rows), columns.field("id").type)
    rows_of = {name: ids if name == "id" else pyarrow.nulls(rows, columns.field(name).type) for name in columns.names}
    write_deltalake(options.table, pyarrow.table(rows_of, schema=columns), mode="append", storage_options=storage)
    return rows


def compact():
    return table().optimize.compact()["numFilesRemoved"]


def vacuum(hours):
    return table().vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False, full=True)


def restore(version):
    restored = table()
    restored.restore(version)
    return restored.version()


def forget():
    table().alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    tidied = table()
    tidied.create_checkpoint()
    tidied.cleanup_metadata()
    return len(list(pathlib.Path(options.table, "_delta_log").glob("*.json")))


def versions():
    def rows(version):
        return sum(pyarrow.table(table(version).get_add_actions(flatten=True))["num_records"].to_pylist())

    return {version: rows(version) for version in range(table().version() + 1)}


print("ready", flush=True)
for line in sys.stdin:
    verb, *numbers = line.split()
    try:
        answer = globals()[verb](*map(int, numbers))
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
