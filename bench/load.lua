-- wrk's request maker: rotates over tokens, numbers each body (%ID%), and counts answers that lack the expected text.
-- usage: wrk -s load.lua URL -- SPEC ; SPEC holds lines "KEY value": MUST, SALT, TOKEN (any number), H name: value, BODY
local headers, tokens, body, must, salt, sent, bad, first = {}, {}, "", "", "0", 0, 0, ""
local threads, count = {}, 0
function setup(thread) count = count + 1; thread:set("number", count); table.insert(threads, thread) end
function init(arguments)
  for line in io.lines(arguments[1]) do
    local key, value = line:match("^(%u+) (.*)$")
    if key == "MUST" then must = value
    elseif key == "SALT" then salt = value
    elseif key == "TOKEN" then table.insert(tokens, value)
    elseif key == "H" then local name, text = value:match("^([^:]+): (.*)$"); headers[name] = text
    elseif key == "BODY" then body = value end
  end
end
function request()
  sent = sent + 1
  if #tokens > 0 then headers["Authorization"] = "Bearer " .. tokens[sent % #tokens + 1] end
  local id = salt .. number .. string.format("%07d", sent)
  return wrk.format("POST", nil, headers, (body:gsub("%%ID%%", id)))
end
function response(status, _, text)
  if status ~= 200 or not text:find(must, 1, true) then
    bad = bad + 1
    if first == "" then first = status .. " " .. text:sub(1, 300) end
  end
end
function done(summary, latency, _)
  local wrong, text = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout, ""
  for _, thread in ipairs(threads) do
    wrong = wrong + (thread:get("bad") or 0)
    if text == "" then text = thread:get("first") or "" end
  end
  print(string.format('RESULT {"per_s":%.2f,"p50":%.4f,"p95":%.4f,"p99":%.4f,"n":%d,"bad":%d,"first_bad":"%s"}',
    summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    summary.requests, wrong, (text:gsub('[%c"\\]', " "))))
end
