#include "net/probe/check_runner.h"

#include <utility>

#include "net/io/errors.h"

namespace net {
namespace {

std::string_view Text(std::span<const uint8_t> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

std::string TimeoutText(Duration timeout) {
  return "no answer within " + std::to_string(timeout / std::chrono::milliseconds(1)) + " ms";
}

}  // namespace

// --- Probe ------------------------------------------------------------------------------------

Probe::Probe(EventLoop& loop, const SocketName& address, std::string preamble,
             std::unique_ptr<CheckScript> script, Duration timeout, Done done)
    : loop_(loop),
      preamble_(std::move(preamble)),
      script_(std::move(script)),
      done_(std::move(done)) {
  timer_ = loop_.After(timeout, [this, timeout] {
    script_->Fail(TimeoutText(timeout));
    Look();
  });
  stream_ = Stream::Connect(loop_, address.get(), address.size(), this);
}

Probe::~Probe() {
  *alive_ = false;
  loop_.CancelTimer(timer_);
  if (stream_) stream_->Abort();
}

void Probe::OnConnected() {
  stream_->Write(preamble_);
  stream_->Write(script_->OnConnected());
  Look();
}

void Probe::OnData(std::span<const uint8_t> data) {
  script_->OnData(Text(data));
  Look();
}

void Probe::OnEnd() {
  script_->OnClosed();
  Look();
}

void Probe::OnClosed(std::string_view why) {
  ours_ = !reported_ && stream_ && IsOurError(stream_->error());
  script_->Fail(std::string(why));
  Look();
}

void Probe::Look() {
  if (reported_ || script_->outcome() == CheckOutcome::kPending) return;
  reported_ = true;
  loop_.CancelTimer(timer_);
  if (stream_->open()) {
    stream_->Write(script_->Farewell());
    stream_->CloseWhenSent();
  }
  // The report may destroy this object, which callers further up still use.
  loop_.Post([alive = alive_, done = std::move(done_),
              ok = script_->outcome() == CheckOutcome::kPassed, why = script_->why()]() mutable {
    if (*alive) done(ok, why);
  });
}

// --- HttpFetch --------------------------------------------------------------------------------

HttpFetch::HttpFetch(EventLoop& loop, const SocketName& address, std::string host, std::string path,
                     Duration timeout, size_t bytes_max, Done done)
    : loop_(loop), parser_(bytes_max), done_(std::move(done)) {
  request_ = SerializeRequest({.target = std::move(path), .host = std::move(host)});
  timer_ = loop_.After(timeout, [this, timeout] { Report(std::unexpected(TimeoutText(timeout))); });
  stream_ = Stream::Connect(loop_, address.get(), address.size(), this);
}

HttpFetch::~HttpFetch() {
  *alive_ = false;
  loop_.CancelTimer(timer_);
  if (stream_) stream_->Abort();
}

void HttpFetch::OnConnected() { stream_->Write(request_); }

void HttpFetch::OnData(std::span<const uint8_t> data) {
  if (reported_) return;
  auto complete = parser_.Feed(Text(data));
  if (!complete) {
    Report(std::unexpected(std::string(ToString(complete.error()))));
  } else if (*complete) {
    OnEnd();
  }
}

void HttpFetch::OnEnd() {
  if (reported_) return;
  if (auto ended = parser_.Eof(); !ended) {
    Report(std::unexpected(std::string(ToString(ended.error()))));
    return;
  }
  const HttpReply& reply = parser_.reply();
  if (reply.status != 200) {
    Report(std::unexpected("status " + std::to_string(reply.status) + ", expected 200"));
  } else {
    Report(reply.body);
  }
}

void HttpFetch::OnClosed(std::string_view why) {
  ours_ = !reported_ && stream_ && IsOurError(stream_->error());
  Report(std::unexpected(std::string(why)));
}

void HttpFetch::Report(std::expected<std::string, std::string> result) {
  if (reported_) return;
  reported_ = true;
  loop_.CancelTimer(timer_);
  if (stream_->open()) stream_->CloseWhenSent();
  loop_.Post([alive = alive_, done = std::move(done_), result = std::move(result)]() mutable {
    if (*alive) done(std::move(result));
  });
}

}  // namespace net
