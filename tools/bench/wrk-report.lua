-- Makes wrk print one JSON object at the end, for slimfast bench. Latency is wrk's own: from writing the request to the end
-- of the response, without the connection's setup.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"elapsedUs":%d,"bytes":%d,"errors":%d,"p50Us":%d,"p99Us":%d,"p999Us":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
