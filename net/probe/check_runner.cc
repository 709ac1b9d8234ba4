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
             std::unique_ptr<CheckScript> script, Duration timeout, Done done,
             std::optional<CheckTls> tls)
    : loop_(loop),
      preamble_(std::move(preamble)),
      script_(std::move(script)),
      done_(std::move(done)),
      tls_(std::move(tls)) {
  timer_ = loop_.After(timeout, [this, timeout] { Fail(TimeoutText(timeout)); });
  channel_ = std::make_unique<Channel>(loop_, address, nullptr, static_cast<ChannelHandler*>(this));
}

Probe::~Probe() {
  *alive_ = false;
  loop_.CancelTimer(timer_);
  channel_.reset();
  if (tls_ && tls_->worker) tls_->worker->EndTurn();  // its keys are forgotten
}

// Where it was when it failed, for the reason; nothing where that is plain.
std::string_view Probe::Where(Stage stage) {
  switch (stage) {
    case Stage::kStartTls:
      return " (STARTTLS)";
    case Stage::kHandshake:
      return " (TLS handshake)";
    case Stage::kConnecting:
    case Stage::kScript:
      break;
  }
  return "";
}

void Probe::OnOpen() {
  if (stage_ != Stage::kConnecting) {  // TLS stands
    Begin();
    return;
  }
  channel_->Write(preamble_);
  if (!tls_) {
    Begin();
  } else if (tls_->starttls) {
    stage_ = Stage::kStartTls;
    words_ = std::make_unique<StartTlsClient>(*tls_->starttls);
    std::string opening;
    words_->Start(&opening);
    channel_->Write(opening);
  } else {
    Secure();
  }
}

void Probe::Secure() {
  stage_ = Stage::kHandshake;
  TlsEnginePtr engine =
      tls_->worker == nullptr ? nullptr : tls_->worker->NewClient(tls_->context, tls_->peer);
  if (engine == nullptr) {
    ours_ = true;
    Fail("TLS could not be begun here");
    return;
  }
  channel_->StartTls(std::move(engine));
}

void Probe::Begin() {
  stage_ = Stage::kScript;
  channel_->Write(script_->OnConnected());
  Look();
}

void Probe::OnBytes(std::span<const uint8_t> bytes) {
  if (stage_ == Stage::kScript) {
    script_->OnData(Text(bytes));
    Look();
    return;
  }
  if (stage_ != Stage::kStartTls || reported_) return;
  std::string words;
  const StartTlsStep step = words_->Feed(Text(bytes), &words);
  channel_->Write(words);
  if (step == StartTlsStep::kStartTls) {
    Secure();
  } else if (step == StartTlsStep::kClose) {
    std::string why(ToString(words_->error()));
    if (!words_->condition().empty()) why += ": " + words_->condition();
    Fail(std::move(why));
  }
}

void Probe::OnEnd() {
  if (stage_ == Stage::kScript) {
    script_->OnClosed();
    Look();
  } else {
    Fail("closed by the node");
  }
}

void Probe::OnClosed(std::string_view why) {
  ours_ = !reported_ && IsOurError(channel_->error());
  Fail(std::string(why));
}

void Probe::Fail(std::string why) {
  script_->Fail(std::move(why) + std::string(Where(stage_)));
  Look();
}

void Probe::Look() {
  if (reported_ || script_->outcome() == CheckOutcome::kPending) return;
  reported_ = true;
  loop_.CancelTimer(timer_);
  if (stage_ == Stage::kScript) channel_->Write(script_->Farewell());
  channel_->CloseWhenSent();
  // The report may destroy this object, which callers further up still use.
  loop_.Post([alive = alive_, done = std::move(done_),
              ok = script_->outcome() == CheckOutcome::kPassed, why = script_->why()]() mutable {
    if (*alive) done(ok, why);
  });
}

// --- HttpFetch --------------------------------------------------------------------------------

HttpFetch::HttpFetch(EventLoop& loop, const SocketName& address, std::string host, std::string path,
                     Duration timeout, size_t bytes_max, Done done)
    : HttpFetch(loop, address, {.target = std::move(path), .host = std::move(host)}, timeout,
                bytes_max, std::move(done)) {}

HttpFetch::HttpFetch(EventLoop& loop, const SocketName& address, const HttpClientRequest& request,
                     Duration timeout, size_t bytes_max, Done done)
    : loop_(loop), request_(SerializeRequest(request)), parser_(bytes_max), done_(std::move(done)) {
  timer_ = loop_.After(timeout, [this, timeout] { Report(std::unexpected(TimeoutText(timeout))); });
  stream_ = Stream::Connect(loop_, address.get(), address.size(), this);
}

HttpFetch::~HttpFetch() {
  *alive_ = false;
  loop_.CancelTimer(timer_);
  if (stream_) stream_->Abort();
}

void HttpFetch::OnConnected() {
  sent_ = true;
  stream_->Write(request_);
}

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
  answered_ = true;
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
