#!/usr/bin/env python3
"""Signs requests as botocore does, for comparison with what the module sends.

Reads JSON lines: {"method", "url", "headers": {...}, "body": base64, "region", "service",
"access", "secret", "token" (may be absent or ""), "time": "20250131T120000Z" or seconds}, and
writes one line each: the Authorization header of botocore at that time.

`headers` may be all that the server received: those that the HTTP client adds after it has signed
are left out, and so are the ones that the signer makes itself. All others get signed, so that a
client which sends one of them unsigned is told by the comparison.

Run it with the Python of `aws.sh setup`.
"""

import base64
import datetime
import json
import sys

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

UNSIGNED = {
    "accept",
    "accept-encoding",
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "authorization",
    "connection",
    "content-length",
    "expect",
    "transfer-encoding",
    "user-agent",
    "x-amz-date",
    "x-amz-security-token",
}


def moment(value):
    if isinstance(value, str):
        return datetime.datetime.strptime(value, "%Y%m%dT%H%M%SZ")
    return datetime.datetime.fromtimestamp(value, datetime.timezone.utc).replace(tzinfo=None)


def authorization(case):
    credentials = Credentials(case["access"], case["secret"], case.get("token") or None)
    headers = {
        name: value for name, value in case["headers"].items() if name.lower() not in UNSIGNED
    }
    request = AWSRequest(
        method=case["method"],
        url=case["url"],
        headers=headers,
        data=base64.b64decode(case["body"], validate=True),
    )
    # The one clock that the signer reads.
    botocore.auth.get_current_datetime = lambda *_args, **_names: moment(case["time"])
    botocore.auth.SigV4Auth(credentials, case["service"], case["region"]).add_auth(request)
    return request.headers["Authorization"]


def main():
    if not hasattr(botocore.auth, "get_current_datetime"):
        sys.exit("sigv4_oracle.py: this botocore reads the time by another name")
    for line in sys.stdin:
        print(authorization(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
