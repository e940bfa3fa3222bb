"""Says whether a Delta table has the very values of a CSV file, as three engines read it.

usage: digest_table.py TABLE FILE.csv [--null TOKEN]

The file is read by DuckDB with the table's own types; both sides become text in one canonical form, sorted, and are hashed.
Prints {"source": digest, "delta-rs": digest, "polars": digest, "duckdb": digest}.
"""

import argparse
import datetime
import hashlib
import json
import sys

import deltalake
import duckdb
import polars
import pyarrow
from duckdb_extensions import import_extension


def canonical(value):
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return value.isoformat()
    if isinstance(value, float):
        return repr(value + 0.0)
    return value


def digest(rows):
    lines = sorted(json.dumps([canonical(value) for value in row], default=str) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("file")
    parser.add_argument("--null", action="append", default=[""])
    options = parser.parse_args()

    import_extension("delta")
    connection = duckdb.connect()
    connection.execute("LOAD delta")
    connection.execute("SET TimeZone = 'UTC'")
    landed = connection.execute(f"SELECT * FROM delta_scan('{options.table}')")
    types = {column[0]: str(column[1]) for column in landed.description}
    seen = {"duckdb": digest(landed.fetchall())}
    nulls = "[" + ", ".join(f"'{token}'" for token in options.null) + "]"
    columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in types.items()) + "}"
    source = f"read_csv('{options.file}', header = true, nullstr = {nulls}, columns = {columns})"
    seen["source"] = digest(connection.execute(f"SELECT * FROM {source}").fetchall())
    seen["polars"] = digest(polars.read_delta(options.table).rows())
    table = pyarrow.table(deltalake.DeltaTable(options.table).to_pyarrow_table())
    seen["delta-rs"] = digest(zip(*(column.to_pylist() for column in table.columns)))
    json.dump(seen, sys.stdout)


main()
