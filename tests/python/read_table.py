"""Reads one Delta table with three engines that Tidegate did not write, and prints what they see as JSON.

usage: read_table.py TABLE [--key COLUMN,COLUMN] [--sum COLUMN] [--s3 ENDPOINT]
       read_table.py --serve [--key ..] [--sum ..] [--s3 ..]

For each engine: the number of rows, the number of distinct keys, the sum of a column of integers, the columns with their types, and, so
that engines can be compared by value, the number of nulls in every column.

With --serve it says `ready`, and then reads for every line on standard input: `ENGINE,ENGINE TABLE`, or `all TABLE`. An engine that fails is
answered by {"error": reason}.
"""

import argparse
import functools
import json
import os
import sys


def with_delta_rs(path, key, total, storage):
    import deltalake
    import pyarrow.compute

    table = pyarrow.table(deltalake.DeltaTable(path, storage_options=storage).to_pyarrow_table())
    return {
        "rows": table.num_rows,
        "keys": table.group_by(key).aggregate([]).num_rows if key else None,
        "sum": pyarrow.compute.sum(table[total]).as_py() if total else None,
        "columns": {field.name: str(field.type) for field in table.schema},
        "nulls": {name: table[name].null_count for name in table.column_names},
    }


def with_polars(path, key, total, storage):
    import polars

    frame = polars.read_delta(path, storage_options=storage)
    return {
        "rows": frame.height,
        "keys": frame.select(key).unique().height if key else None,
        "sum": frame[total].sum() if total else None,
        "columns": {name: str(kind) for name, kind in frame.schema.items()},
        "nulls": {name: count for name, count in frame.null_count().row(0, named=True).items()},
    }


@functools.cache
def duckdb_connection(endpoint):
    import duckdb
    from duckdb_extensions import import_extension

    connection = duckdb.connect()
    for extension in ["delta", "httpfs"] if endpoint else ["delta"]:
        import_extension(extension)
        connection.execute(f"LOAD {extension}")
    if endpoint:
        connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}',"
            f" ENDPOINT '{endpoint.removeprefix('http://')}', REGION 'us-east-1', URL_STYLE path, USE_SSL false)"
        )
    return connection


def with_duckdb(path, key, total, storage):
    connection = duckdb_connection(storage and storage["AWS_ENDPOINT_URL"])
    source = f"delta_scan('{path}')"
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    names = [row[0] for row in described]
    keyed = ", ".join(f'"{name}"' for name in key)
    wanted = [f"count(DISTINCT row({keyed}))" if key else "NULL", f'sum("{total}")' if total else "NULL"]
    wanted += [f'count(*) - count("{name}")' for name in names]
    # In one query, so that all of it is of one version.
    rows, keys, sum, *nulls = connection.execute(f"SELECT count(*), {', '.join(wanted)} FROM {source}").fetchone()
    return {
        "rows": rows,
        "keys": keys,
        "sum": sum,
        "columns": {name: kind for name, kind, *_ in described},
        "nulls": dict(zip(names, nulls)),
    }


def serve(engines, read):
    print("ready", flush=True)
    for line in sys.stdin:
        names, table = line.rstrip("\n").split(" ", 1)
        seen = {}
        for name in engines if names == "all" else names.split(","):
            try:
                seen[name] = read(engines[name], table)
            except Exception as error:
                seen[name] = {"error": repr(error)}
        print(json.dumps(seen, default=str), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table", nargs="?")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--key", default="")
    parser.add_argument("--sum")
    parser.add_argument("--s3")
    options = parser.parse_args()
    key = [name for name in options.key.split(",") if name]
    storage = None
    engines = {"delta-rs": with_delta_rs, "polars": with_polars, "duckdb": with_duckdb}
    if options.s3:
        storage = {"AWS_ENDPOINT_URL": options.s3, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        storage |= {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}

    def read(engine, table):
        return engine(table, key, options.sum, storage)

    if options.serve:
        serve(engines, read)
    else:
        json.dump({name: read(engine, options.table) for name, engine in engines.items()}, sys.stdout, default=str)


main()
