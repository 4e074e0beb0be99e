#!/bin/bash
# Compares the signatures of our client with botocore's, at least 200 of them.
#
#   sigv4.sh SIGV4_REQUESTS     the program that sends them; see sigv4_requests.c
#
# 77: botocore cannot be had here.
set -euo pipefail

program=$1
servers=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../servers
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

if ! python=$("$servers/aws.sh" setup); then
    echo "sigv4.sh: skipped: botocore could not be installed: see above"
    exit 77
fi
INDEXKEY_SIGV4_CASES=$folder/cases "$program"

cat >"$folder/compare.py" <<'PYTHON'
"""compare.py FOLDER prepare|compare: the oracle's input; what it answered against what was sent."""
import base64
import calendar
import json
import pathlib
import sys
import time

LEAST = 200
SKEW_MAX = 300
SIGNED = ("host", "x-amz-date", "x-amz-target", "x-amz-security-token", "content-type")


def check_sent(request, case, ahead):
    """What the signature alone does not tell."""
    headers = request["headers"]
    assert (request["method"], request["path"], request["query"]) == ("POST", "/", "")
    date = calendar.timegm(time.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ"))
    assert abs(date - case["time"] - ahead) <= 5, f"dated {date}, not {case['time']} + {ahead}"
    assert headers.get("x-amz-security-token", "") == case["token"], "another session token"
    names = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    for name in SIGNED:
        assert name not in headers or name in names, f"{name} is not signed"


def prepare(folder):
    """A source whose clock is more than five minutes off asks twice: see aws_exchange.h."""
    with open(folder / "oracle", "w", encoding="ascii") as oracle:
        for line in open(folder / "cases", encoding="utf-8"):
            case = json.loads(line)
            requests = json.loads(case["answer"])["requests"]
            assert len(requests) == (2 if abs(case["ahead"]) > SKEW_MAX else 1), len(requests)
            for request, ahead in zip(requests, (0, case["ahead"])):
                check_sent(request, case, ahead)
                body = base64.b64encode(request["body"].encode("latin-1")).decode()
                oracle.write(json.dumps({
                    "method": request["method"], "url": case["url"],
                    "headers": request["headers"], "body": body, "region": case["region"],
                    "service": case["service"], "access": case["access"], "secret": case["secret"],
                    "token": case["token"], "time": request["headers"]["x-amz-date"]}) + "\n")


def compare(folder):
    cases = [json.loads(line) for line in open(folder / "oracle", encoding="ascii")]
    answers = (folder / "answers").read_text(encoding="ascii").splitlines()
    assert len(cases) == len(answers) >= LEAST, f"{len(cases)} cases, {len(answers)} answers"
    wrong = [case for case, answer in zip(cases, answers)
             if case["headers"]["authorization"] != answer]
    for case in wrong[:3]:
        print("differs:", json.dumps(case)[:2000])
    print(f"{len(cases)} signed requests, {len(wrong)} differ from botocore's signature;",
          f"{sum(case['service'] == 'sts' for case in cases)} of them for STS;",
          f"{len({case['region'] for case in cases})} Regions,",
          f"session tokens of 0 to {max(len(case['token']) for case in cases)} bytes,",
          f"bodies of 0 to {max(len(case['body']) * 3 // 4 for case in cases)} bytes")
    sys.exit(1 if wrong else 0)


{"prepare": prepare, "compare": compare}[sys.argv[2]](pathlib.Path(sys.argv[1]))
PYTHON
"$python" "$folder/compare.py" "$folder" prepare
"$python" "$servers/sigv4_oracle.py" <"$folder/oracle" >"$folder/answers"
"$python" "$folder/compare.py" "$folder" compare
