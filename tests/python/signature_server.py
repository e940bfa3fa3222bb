"""Servers on free ports of this machine that check signatures, in the way of somebody else. Prints what a client needs to know as a line of JSON,
then serves until whoever started it is gone.

s3     moto with its checks on: a bucket `lake` with an object `a b+c.txt` in it, for one user who may do everything there
hmac   checks the header `x-signature` as Tidegate documents it, with Python's own hmac; says what is wrong
"""

import hashlib
import hmac
import http.server
import json
import os
import threading
import time

os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1")

import boto3  # noqa: E402
import moto.settings  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

HMAC_SECRET = "a-key-that-both-sides-know"


class Checking(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def wrong(self, body):
        stamp = self.headers["x-signature-timestamp"]
        if not stamp or abs(time.time() - int(stamp)) > 60:
            return f"the time: {stamp}"
        lines = "\n".join([self.command, self.path, stamp, hashlib.sha256(body).hexdigest()])
        expected = hmac.new(HMAC_SECRET.encode(), lines.encode(), hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(expected, self.headers["x-signature"] or "") else "the signature"

    def answer(self):
        wrong = self.wrong(self.rfile.read(int(self.headers["content-length"] or 0)))
        text = f"wrong: {wrong}" if wrong else "signed"
        self.send_response(403 if wrong else 200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
s3 = f"http://{host}:{port}"
iam = boto3.client("iam", endpoint_url=s3)
iam.create_user(UserName="tidegate")
key = iam.create_access_key(UserName="tidegate")["AccessKey"]
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="tidegate", PolicyName="s3", PolicyDocument=json.dumps(everything))
lake = boto3.client("s3", endpoint_url=s3)
lake.create_bucket(Bucket="lake")
lake.put_object(Bucket="lake", Key="a b+c.txt", Body=b"of the lake")
# From here on nothing is answered that is not signed.
moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = 0

checking = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Checking)
threading.Thread(target=checking.serve_forever, daemon=True).start()
known = {
    "s3": s3,
    "access_key_id": key["AccessKeyId"],
    "secret_access_key": key["SecretAccessKey"],
    "hmac": f"http://127.0.0.1:{checking.server_address[1]}",
    "hmac_secret": HMAC_SECRET,
}
print(json.dumps(known), flush=True)
parent = os.getppid()
# Ends with whoever started it, even if that was killed.
while os.getppid() == parent:
    time.sleep(0.2)
