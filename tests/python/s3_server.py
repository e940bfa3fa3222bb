"""An S3 server on a free port of this machine, with one bucket named `lake`. Prints its address, then serves.

usage: s3_server.py [FOLDER]    what is below the folder is put into the bucket first

Who started it may look into the bucket without a request to the server: a line on standard input is answered by a line of JSON.
  list PREFIX    the keys that begin so
  text KEY       the object's text, null when there is none
  drop PREFIX    removes the objects whose keys begin so
"""

import json
import os
import pathlib
import sys
import threading
import time

os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1")

import boto3  # noqa: E402
from moto.core import DEFAULT_ACCOUNT_ID  # noqa: E402
from moto.s3.models import s3_backends  # noqa: E402
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
objects = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets["lake"].keys


def answer(verb, name):
    if verb == "text":
        found = objects.get(name)
        return found and found.value.decode()
    # A copy made in one step: requests go on meanwhile.
    names = [key for key in list(objects) if key.startswith(name)]
    if verb == "drop":
        for key in names:
            objects.pop(key)
    return names


def answer_all():
    for line in sys.stdin:
        print(json.dumps(answer(*line.rstrip("\n").split(" ", 1))), flush=True)


print(endpoint, flush=True)
threading.Thread(target=answer_all, daemon=True).start()
parent = os.getppid()
# Ends with whoever started it, even if that was killed.
while os.getppid() == parent:
    time.sleep(0.2)
