"""Loads with Tidegate beside the same work in DuckDB and Polars, on the same file, in turn.

usage: compare.py land [ROWS]     CSV to a table: rows/s of each, and the ratio
       compare.py first-row       a small load: from the start of the command to its first row
       compare.py memory [ROWS..] the worker's peak memory as the data grows
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TIDEGATE = os.environ["TIDEGATE"]
ROUNDS = 5

GENERATE = """
COPY (
  SELECT i AS id, 2013 AS year, 1 + i % 12 AS month, 1 + i % 28 AS day,
         CASE WHEN hash(i) % 40 > 0 THEN hash(i) % 2400 END AS dep_time,
         CASE WHEN hash(i) % 40 > 0 THEN (hash(i + 1) % 300)::INT - 20 END AS dep_delay,
         CASE WHEN hash(i) % 40 > 0 THEN hash(i + 2) % 2400 END AS arr_time,
         ['UA','AA','B6','DL','EV','MQ','9E','WN'][1 + (hash(i + 3) % 8)::INT] AS carrier,
         hash(i + 4) % 6000 AS flight, 'N' || (10000 + hash(i + 5) % 4000) AS tailnum,
         ['EWR','LGA','JFK'][1 + (hash(i + 6) % 3)::INT] AS origin, ['IAH','MIA','BQN','ATL','ORD'][1 + (hash(i + 7) % 5)::INT] AS dest,
         20 + hash(i + 8) % 600 AS air_time, (80 + hash(i + 9) % 4900)::DOUBLE AS distance,
         strftime(TIMESTAMP '2013-01-01' + INTERVAL 1 MINUTE * (i % 500000)::INT, '%Y-%m-%dT%H:%M:%SZ') AS time_hour
  FROM range({rows}) t(i)
) TO '{path}' (HEADER)
"""

PIPELINE = """
pipeline: bench
extract:
  connector: files@*
  config: {{ location: ./data, format: csv }}
  streams:
    flights: {{ mode: full }}
ingest:
  sink: delta
  location: ./lake
  write: replace
"""


def generate(folder, rows):
    import duckdb

    (folder / "data").mkdir(exist_ok=True)
    path = folder / "data" / "flights.csv"
    duckdb.connect().execute(GENERATE.format(rows=rows, path=path))
    (folder / "p.yaml").write_text(PIPELINE.format())
    return path


def tidegate(folder):
    begun = time.perf_counter()
    done = subprocess.run(
        [TIDEGATE, "run", "p.yaml", "--yes-grant", "--json"], cwd=folder, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - begun, json.loads(done.stdout)


def with_duckdb(path, out):
    code = f"import duckdb; duckdb.connect().execute(\"COPY (SELECT * FROM read_csv('{path}')) TO '{out}' (FORMAT parquet)\")"
    return in_process(code)


def with_polars(path, out):
    return in_process(f"import polars; polars.scan_csv('{path}', try_parse_dates=True).sink_parquet('{out}', compression='snappy')")


def in_process(code):
    """Seconds of the work itself: the interpreter's start is not counted."""
    timed = f"import time\n{code.split(';')[0]}\nbegun = time.perf_counter()\n{code.split(';', 1)[1].strip()}\nprint(time.perf_counter() - begun)"
    return float(subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True).stdout)


def land(rows):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        path = generate(folder, rows)
        megabytes = path.stat().st_size / 1e6
        tidegate(folder)  # compiles the connector once
        seconds = {"tidegate": [], "duckdb": [], "polars": [], "duckdb again": []}
        for _ in range(ROUNDS):
            seconds["tidegate"].append(tidegate(folder)[0])
            seconds["duckdb"].append(with_duckdb(path, folder / "d.parquet"))
            seconds["polars"].append(with_polars(path, folder / "p.parquet"))
            seconds["duckdb again"].append(with_duckdb(path, folder / "d.parquet"))
        print(f"CSV to table, {rows:,} rows x 15 columns, {megabytes:.0f} MB, {ROUNDS} rounds in turn")
        print(f"{'':14}{'median s':>10}{'min':>8}{'max':>8}{'rows/s':>12}{'to fastest':>12}")
        best = min(statistics.median(values) for values in seconds.values())
        for tool, values in seconds.items():
            median = statistics.median(values)
            print(f"{tool:14}{median:10.2f}{min(values):8.2f}{max(values):8.2f}{rows / median:12,.0f}{best / median:12.2f}")
        print("tidegate: the whole command, into a Delta table; the others: the work alone, into one Parquet file")


def first_row():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        generate(folder, 1000)
        tidegate(folder)
        runs = [tidegate(folder) for _ in range(15)]
        first = statistics.median(run["summary"]["first_row_milliseconds"] for _, run in runs)
        whole = statistics.median(seconds for seconds, _ in runs) * 1000
        print(f"1,000 rows, warm: first row {first:.0f} ms after the command began, whole command {whole:.0f} ms (medians of 15)")


def memory(sizes):
    print(f"{'rows':>12}{'seconds':>10}{'rows/s':>12}{'worker peak MB':>16}{'instance peak MB':>18}")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            generate(folder, rows)
            seconds, done = tidegate(folder)
            summary = done["summary"]
            assert summary["rows"] == rows, summary
            peak, instance = summary["peak_memory"] / 1e6, summary["sandbox"]["peak_memory"] / 1e6
            print(f"{rows:12,}{seconds:10.1f}{rows / seconds:12,.0f}{peak:16.0f}{instance:18.0f}", flush=True)


if __name__ == "__main__":
    what, *numbers = sys.argv[1:] or ["land"]
    numbers = [int(number) for number in numbers]
    if what == "land":
        land(numbers[0] if numbers else 2_000_000)
        first_row()
    elif what == "first-row":
        first_row()
    elif what == "memory":
        memory(numbers or [1_000_000, 10_000_000, 50_000_000])
    else:
        sys.exit(__doc__)
