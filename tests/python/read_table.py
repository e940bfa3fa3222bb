"""Reads one Delta table with three engines that Tidegate did not write, and prints what they see as JSON.

usage: read_table.py TABLE [--key COLUMN,COLUMN] [--s3 ENDPOINT]

For each engine: the number of rows, the number of distinct keys, the columns with their types, and, so that
engines can be compared by value, a few aggregates of every column.
"""

import argparse
import json
import os
import sys


def arrow_table(path, storage):
    import deltalake
    import pyarrow

    return pyarrow.table(deltalake.DeltaTable(path, storage_options=storage).to_pyarrow_table())


def with_delta_rs(path, key, storage):
    table = arrow_table(path, storage)
    return {
        "rows": table.num_rows,
        "keys": table.group_by(key).aggregate([]).num_rows if key else None,
        "columns": {field.name: str(field.type) for field in table.schema},
        "nulls": {name: table[name].null_count for name in table.column_names},
    }


def with_polars(path, key, storage):
    import polars

    frame = polars.read_delta(path, storage_options=storage)
    return {
        "rows": frame.height,
        "keys": frame.select(key).unique().height if key else None,
        "columns": {name: str(kind) for name, kind in frame.schema.items()},
        "nulls": {name: count for name, count in frame.null_count().row(0, named=True).items()},
    }


def with_duckdb(path, key, storage):
    import duckdb
    from duckdb_extensions import import_extension

    import_extension("delta")
    connection = duckdb.connect()
    connection.execute("LOAD delta")
    source = f"delta_scan('{path}')"
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    names = [row[0] for row in described]
    counts = ", ".join(f'count(*) - count("{name}")' for name in names)
    row = connection.execute(f"SELECT count(*), {counts} FROM {source}").fetchone()
    keys = None
    if key:
        columns = ", ".join(f'"{name}"' for name in key)
        keys = connection.execute(f"SELECT count(*) FROM (SELECT DISTINCT {columns} FROM {source})").fetchone()[0]
    return {
        "rows": row[0],
        "keys": keys,
        "columns": {name: kind for name, kind, *_ in described},
        "nulls": dict(zip(names, row[1:])),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--key", default="")
    parser.add_argument("--s3")
    options = parser.parse_args()
    key = [name for name in options.key.split(",") if name]
    storage = None
    engines = {"delta-rs": with_delta_rs, "polars": with_polars, "duckdb": with_duckdb}
    if options.s3:
        storage = {"AWS_ENDPOINT_URL": options.s3, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        storage |= {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        # DuckDB's reader takes its S3 settings from an extension that is not packaged with it.
        del engines["duckdb"]
    json.dump({name: read(options.table, key, storage) for name, read in engines.items()}, sys.stdout, default=str)


main()
