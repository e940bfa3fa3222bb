"""Writes the same two rows as Parquet, gzipped CSV and CSV compressed with zstd.

usage: write_files.py FOLDER    gives FOLDER/parquet/cities.parquet, FOLDER/gz/cities.csv.gz, FOLDER/zst/cities.csv.zst
"""

import json
import pathlib
import sys

import pyarrow
import pyarrow.parquet

folder = pathlib.Path(sys.argv[1])
for name in ("parquet", "gz", "zst"):
    (folder / name).mkdir(parents=True)
rows = pyarrow.table({"id": [1, 2], "name": ["Zürich", None]})
pyarrow.parquet.write_table(rows, folder / "parquet" / "cities.parquet")
for name, codec in (("gz", "gzip"), ("zst", "zstd")):
    with pyarrow.CompressedOutputStream(str(folder / name / f"cities.csv.{name}"), codec) as out:
        out.write("id,name\n1,Zürich\n2,\n".encode())
json.dump({}, sys.stdout)
