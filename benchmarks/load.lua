-- Deposits or transfers for wrk (https://github.com/wg/wrk): a random wallet out of a file for every
-- request. Arguments: the file with one wallet id per line, a number that differs from run to run,
-- and what is sent: "plain" deposits, "keyed" ones with an Idempotency-Key each, or "transfers" to
-- these wallets, from those of a further file.
-- Answers other than 2xx are counted by wrk itself (summary.errors.status); a callback per answer
-- would cost more than the request.

local threads = 0

function setup(thread)
    threads = threads + 1
    thread:set("thread_number", threads)
end

local ids = {}
local sent = 0
local prefix = ""
local keyed = false
local sources = nil
local head = ""

local function read_lines(file)
    local lines = {}
    for line in io.lines(file) do
        lines[#lines + 1] = line
    end
    return lines
end

function init(arguments)
    ids = read_lines(arguments[1])
    prefix = arguments[2] .. "-" .. thread_number .. "-"
    keyed = arguments[3] == "keyed"
    if arguments[3] == "transfers" then
        sources = read_lines(arguments[4])
    end
    math.randomseed(tonumber(arguments[2]) + thread_number)
    head = " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port ..
        "\r\nContent-Type: application/json\r\nAccept: application/json\r\n" ..
        "User-Agent: coffer-benchmark\r\n"
end

local function post(path, key, body)
    return "POST " .. path .. head .. key .. "Content-Length: " .. #body .. "\r\n\r\n" .. body
end

local function deposit()
    local body = string.format(
        '{"operation_type": "DEPOSIT", "amount": "%d.%02d", "reference": "order-%s%d", ' ..
        '"metadata": {"channel": "web"}}',
        math.random(1, 999), math.random(0, 99), prefix, sent)
    local key = keyed and "Idempotency-Key: " .. prefix .. sent .. "\r\n" or ""
    return post("/api/v1/wallets/" .. ids[math.random(#ids)] .. "/operation", key, body)
end

local function transfer()
    local source = sources[math.random(#sources)]
    local target = ids[math.random(#ids)]
    while target == source do
        target = ids[math.random(#ids)]
    end
    local body = string.format(
        '{"source_wallet_id": "%s", "target_wallet_id": "%s", "amount": "%d.%02d", ' ..
        '"reference": "order-%s%d", "metadata": {"channel": "web"}}',
        source, target, math.random(1, 999), math.random(0, 99), prefix, sent)
    return post("/api/v1/transfers", "", body)
end

function request()
    sent = sent + 1
    return sources and transfer() or deposit()
end

function done(summary, latency, requests)
    local errors = summary.errors
    print(string.format(
        'RESULT {"requests": %d, "duration_us": %d, "not_2xx": %d, "broken": %d, ' ..
        '"p50_us": %d, "p99_us": %d}',
        summary.requests, summary.duration, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
