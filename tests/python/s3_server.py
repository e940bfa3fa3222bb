"""An S3 server on a free port of this machine, with one bucket named `lake`. Prints its address, then serves.

usage: s3_server.py [FOLDER]    what is below the folder is put into the bucket first
"""

import os
import pathlib
import sys
import time

os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1")

import boto3  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://{host}:{port}"
client = boto3.client("s3", endpoint_url=endpoint)
client.create_bucket(Bucket="lake")
for folder in map(pathlib.Path, sys.argv[1:]):
    for path in folder.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "lake", path.relative_to(folder).as_posix())
print(endpoint, flush=True)
parent = os.getppid()
# Ends with whoever started it, even if that was killed.
while os.getppid() == parent:
    time.sleep(0.2)
