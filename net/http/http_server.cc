#include "net/http/http_server.h"

#include <algorithm>
#include <list>
#include <string>

#include "net/io/accept_failure.h"
#include "net/io/stream.h"

namespace net {
namespace {

// How often deadlines are looked at; they are for defence, not for precision.
constexpr Duration kSweepEvery = std::chrono::milliseconds(500);

}  // namespace

struct HttpServer::Core {
  Core(EventLoop& the_loop, Handler the_handler, const HttpServerOptions& the_options)
      : loop(the_loop), handler(std::move(the_handler)), options(the_options) {}

  void Accept(Slot slot);
  void MakeRoom();
  void Remove(const Session* session);
  void Sweep();
  void ArmSweep();

  EventLoop& loop;
  Handler handler;
  const HttpServerOptions options;
  HttpServerStats stats;
  std::list<std::shared_ptr<Session>> sessions;  // oldest first
  EventLoop::TimerId sweep{};
  bool sweeping = false;
  std::unique_ptr<Acceptor> acceptor;
};

class HttpServer::Session final : public StreamHandler,
                                  public std::enable_shared_from_this<Session> {
 public:
  explicit Session(Core& core) : core_(core), parser_(core.options.limits) {}
  ~Session() { stream_->Abort(); }

  void Start(Slot slot) {
    stream_ = Stream::Accepted(core_.loop, slot, this);
    Wait(core_.options.idle_timeout);
  }

  bool answering() const { return answering_; }
  Time waiting_since() const { return waiting_since_; }
  bool Late(Time now) const { return now >= deadline_; }

  void OnData(std::span<const uint8_t> data) override {
    auto self = shared_from_this();  // an answer that cannot be sent ends the session
    if (parser_.idle() && !answering_) Wait(core_.options.request_timeout);
    auto fed = parser_.Feed({reinterpret_cast<const char*>(data.data()), data.size()});
    if (!fed) return Refuse(fed.error());
    Pump();
  }

  void OnEnd() override {
    auto self = shared_from_this();
    ended_ = true;
    if (!answering_) stream_->CloseWhenSent();
  }

  void OnDrained() override {
    auto self = shared_from_this();
    if (!answering_) return;  // "100 Continue" was sent
    answering_ = false;
    Wait(parser_.idle() ? core_.options.idle_timeout : core_.options.request_timeout);
    Pump();
    if (answering_) return;
    if (ended_) return stream_->CloseWhenSent();
    stream_->ResumeReading();
  }

  void OnClosed(std::string_view) override { core_.Remove(this); }

 private:
  void Wait(Duration limit) {
    waiting_since_ = core_.loop.now();
    deadline_ = waiting_since_ + limit;
  }

  // Answers one request, if a whole one is there and the last answer has gone out.
  void Pump() {
    if (answering_) return;
    auto request = parser_.Next();
    if (!request) return Refuse(request.error());
    if (!*request) {
      if (parser_.TakeContinue()) stream_->Write(kHttpContinue);
      return;
    }
    ++core_.stats.requests;
    const std::string answer = SerializeResponse(core_.handler(**request), **request);
    Answer(answer, (*request)->keep_alive);
  }

  void Answer(const std::string& bytes, bool keep_alive) {
    answering_ = true;
    Wait(core_.options.answer_timeout);
    stream_->PauseReading();
    if (!stream_->Write(bytes)) return;
    if (keep_alive) return;
    stream_->CloseWhenSent();
    // Reading goes on, so that the close is not a reset that takes the answer with it.
    stream_->ResumeReading();
  }

  void Refuse(HttpError error) {
    ++core_.stats.bad_requests;
    Answer(SerializeError(error), false);
  }

  Core& core_;
  HttpRequestParser parser_;
  std::shared_ptr<Stream> stream_;
  Time waiting_since_{};
  Time deadline_{};
  bool answering_ = false;
  bool ended_ = false;
};

void HttpServer::Core::Accept(Slot slot) {
  if (sessions.size() >= options.connections_max) MakeRoom();
  ++stats.connections;
  auto session = std::make_shared<Session>(*this);
  sessions.push_back(session);
  session->Start(slot);
  ArmSweep();
}

void HttpServer::Core::MakeRoom() {
  auto worst = std::ranges::min_element(sessions, {}, [](const auto& session) {
    return std::pair(session->answering(), session->waiting_since());
  });
  ++stats.displaced;
  sessions.erase(worst);
}

void HttpServer::Core::Remove(const Session* session) {
  std::erase_if(sessions, [&](const auto& one) { return one.get() == session; });
}

void HttpServer::Core::ArmSweep() {
  if (sweeping || sessions.empty()) return;
  sweeping = true;
  sweep = loop.After(kSweepEvery, [this] { Sweep(); });
}

void HttpServer::Core::Sweep() {
  sweeping = false;
  const Time now = loop.now();
  stats.timeouts += std::erase_if(sessions, [&](const auto& one) { return one->Late(now); });
  ArmSweep();
}

HttpServer::HttpServer(EventLoop& loop, UniqueFd listener, Handler handler,
                       HttpServerOptions options)
    : core_(std::make_unique<Core>(loop, std::move(handler), options)) {
  core_->acceptor = std::make_unique<Acceptor>(
      loop, std::move(listener), [core = core_.get()](Slot slot) { core->Accept(slot); },
      [](int error) { LogAcceptFailure("http", "pages", error); });
}

HttpServer::~HttpServer() {
  core_->acceptor.reset();
  if (core_->sweeping) core_->loop.CancelTimer(core_->sweep);
}

const HttpServerStats& HttpServer::stats() const { return core_->stats; }
size_t HttpServer::open() const { return core_->sessions.size(); }

}  // namespace net
