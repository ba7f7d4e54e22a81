"""Prints a token signed by botocore.

python3 sign.py SERVICE CACHE USER REGION [serverless]
"""

import sys
from urllib.parse import urlencode

from botocore.model import ServiceId
from botocore.session import get_session
from botocore.signers import RequestSigner

service, cache, user, region, *kind = sys.argv[1:]
query = {"Action": "connect", "User": user}
if kind == ["serverless"]:
    query["ResourceType"] = "ServerlessCache"

session = get_session()
signer = RequestSigner(
    ServiceId(service), region, service, "v4", session.get_credentials(), session.get_component("event_emitter")
)
signed = signer.generate_presigned_url(
    {"method": "GET", "url": f"https://{cache}/?{urlencode(query)}", "body": {}, "headers": {}, "context": {}},
    operation_name="connect",
    expires_in=900,
    region_name=region,
)
print(signed.removeprefix("https://"))
