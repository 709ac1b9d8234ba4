// A small HTTP/1.1 server for admin pages: a handler answers each request at once, on the loop's
// thread. Not for serving the public.
//
// Bounded: connections, header and body bytes, the time that a request may take to arrive, that an
// answer may take to be read, and that a connection may rest. Answers go out one at a time, so a
// client that pipelines and does not read costs one answer. When all connections are in use a new
// one takes the place of the one that has waited longest for its request to come, so clients that
// hold connections open keep nobody out.
//
// One thread, the loop's. The server must end before the loop, and may at any time but from inside
// its handler.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "net/http/http.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace net {

struct HttpServerOptions {
  uint32_t connections_max = 64;
  HttpLimits limits{.header_bytes_max = 8 * 1024, .body_bytes_max = 4 * 1024};
  Duration request_timeout = std::chrono::seconds(10);  // from its first byte to its last
  Duration answer_timeout = std::chrono::seconds(30);   // until the client has read it
  Duration idle_timeout = std::chrono::seconds(60);     // between requests
};

struct HttpServerStats {
  uint64_t connections = 0;  // accepted
  uint64_t requests = 0;
  uint64_t bad_requests = 0;
  uint64_t timeouts = 0;
  uint64_t displaced = 0;  // closed for a newer one at connections_max
};

class HttpServer {
 public:
  using Handler = std::function<HttpResponse(const HttpRequest&)>;

  HttpServer(EventLoop& loop, UniqueFd listener, Handler handler, HttpServerOptions options = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  const HttpServerStats& stats() const;
  size_t open() const;

 private:
  class Session;
  struct Core;
  std::unique_ptr<Core> core_;
};

}  // namespace net
