-- 64 KiB bodies up.
wrk.method = "POST"
wrk.path = "/upload"
wrk.body = string.rep("x", 65536)
wrk.headers["Content-Type"] = "application/octet-stream"
