"""Reads requests of OTLP with OpenTelemetry's own schema and prints what is in them as JSON, a line each."""

import json
import sys

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics

REQUESTS = {
    "/v1/metrics": metrics.ExportMetricsServiceRequest,
    "/v1/logs": logs.ExportLogsServiceRequest,
}


def unknown(message):
    """Whether there is a field that the schema does not have."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    if len(UnknownFieldSet(message)):
        return True
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        values = [value] if hasattr(value, "ListFields") else value
        if any(unknown(one) for one in values):
            return True
    return False


for path, file in zip(sys.argv[1::2], sys.argv[2::2]):
    request = REQUESTS[path]()
    with open(file, "rb") as body:
        request.ParseFromString(body.read())
    assert not unknown(request), path
    print(json.dumps(MessageToDict(request)))
