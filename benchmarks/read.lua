-- Reads for wrk (https://github.com/wg/wrk): for every request a random path out of a file.
-- Arguments: the file with one path per line, and a seed.

local requests = {}

function init(arguments)
    math.randomseed(tonumber(arguments[2]))
    wrk.headers["Accept"] = "application/json"
    wrk.headers["User-Agent"] = "coffer-benchmark"
    for line in io.lines(arguments[1]) do
        requests[#requests + 1] = wrk.format("GET", line)
    end
end

function request()
    return requests[math.random(#requests)]
end

function done(summary, latency, _)
    local errors = summary.errors
    print(string.format(
        'RESULT {"requests": %d, "duration_us": %d, "not_2xx": %d, "broken": %d, ' ..
        '"p50_us": %d, "p99_us": %d}',
        summary.requests, summary.duration, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
