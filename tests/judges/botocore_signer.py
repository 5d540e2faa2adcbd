"""Signs requests with botocore: one JSON object per line in, one out. The oracle of `tests/it/signatures.rs`."""

import datetime
import json
import sys
from unittest import mock

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def sign(case):
    credentials = Credentials(case["access_key_id"], case["secret_access_key"], case["session_token"])
    request = AWSRequest(method="GET", url=case["url"])
    at = datetime.datetime.fromtimestamp(case["at"], datetime.timezone.utc)
    with mock.patch("botocore.auth.get_current_datetime", return_value=at):
        SigV4Auth(credentials, "mobiletargeting", case["region"]).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


for line in sys.stdin:
    print(json.dumps(sign(json.loads(line))), flush=True)
