-- Bulk requests for wrk (https://github.com/wg/wrk). Arguments: the file with one wallet id per
-- line, a seed, how many deposits a request has, and how many bodies are made beforehand: while the
-- load runs none is, so that the client is not what limits.
-- Every answer begins with the number of deposits that were done; the others have failed. That is a
-- callback per answer, but answers are few.

local threads = {}

function setup(thread)
    table.insert(threads, thread)
    thread:set("thread_number", #threads)
end

local requests = {}
local deposits = 0
local sent = 0
answered = 0
done_deposits = 0

local function deposit(id, number)
    return string.format(
        '{"wallet_id": "%s", "operation_type": "DEPOSIT", "amount": "%d.%02d", ' ..
        '"reference": "order-%s", "metadata": {"channel": "web"}}',
        id, math.random(1, 999), math.random(0, 99), number)
end

function init(arguments)
    local ids = {}
    for line in io.lines(arguments[1]) do
        ids[#ids + 1] = line
    end
    math.randomseed(tonumber(arguments[2]) + thread_number)
    deposits = tonumber(arguments[3])
    wrk.headers["Content-Type"] = "application/json"
    wrk.headers["Accept"] = "application/json"
    wrk.headers["User-Agent"] = "coffer-benchmark"
    for body = 1, tonumber(arguments[4]) do
        local items = {}
        for item = 1, deposits do
            local number = arguments[2] .. "-" .. thread_number .. "-" .. body .. "-" .. item
            items[item] = deposit(ids[math.random(#ids)], number)
        end
        local whole = '{"operations": [' .. table.concat(items, ", ") .. "]}"
        requests[body] = wrk.format("POST", "/api/v1/operations/bulk", nil, whole)
    end
end

function request()
    sent = sent + 1
    return requests[sent % #requests + 1]
end

function response(status, headers, body)
    answered = answered + 1
    if status == 200 then
        done_deposits = done_deposits + (tonumber(body:match('^{"done":(%d+),')) or 0)
    end
end

function done(summary, latency, _)
    local errors = summary.errors
    local answers, good = 0, 0
    for _, thread in ipairs(threads) do
        answers = answers + thread:get("answered")
        good = good + thread:get("done_deposits")
    end
    print(string.format(
        'RESULT {"requests": %d, "done": %d, "duration_us": %d, "broken": %d, ' ..
        '"p50_us": %d, "p99_us": %d}',
        answers, good, summary.duration,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
