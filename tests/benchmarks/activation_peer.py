"""drt-core's web service destination alone, without its reading of rows; seconds on stdout.

Runs in the environment of the peers: ``python activation_peer.py ROWS.jsonl ADDRESS BATCH``.
"""

import json
import sys
import time
from pathlib import Path

from drt.config.models import RateLimitConfig, RestApiDestinationConfig, SyncOptions
from drt.destinations.rest_api import RestApiDestination

rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
batch = int(sys.argv[3])
shape = (
    {"body_mode": "batch", "batch_template": '{"rows": {{ rows | tojson }}}'} if batch > 1 else {}
)
config = RestApiDestinationConfig(
    type="rest_api",
    url=sys.argv[2],
    rate_limit=RateLimitConfig(requests_per_second=1_000_000),
    native_idempotency_key="{{ request_id }}" if batch > 1 else "{{ row.customer_id }}",
    **shape,
)
options = SyncOptions(rate_limit=RateLimitConfig(requests_per_second=1_000_000))
began = time.perf_counter()
for start in range(0, len(rows), 500):
    done = RestApiDestination().load(rows[start : start + 500], config, options)
    assert not done.failed, done.row_errors[:1]
print(time.perf_counter() - began)
