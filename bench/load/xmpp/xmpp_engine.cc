#include "bench/load/xmpp/xmpp_engine.h"

#include <openssl/err.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "bench/load/xmpp/xml_view.h"
#include "net/base/check.h"

namespace bench {
namespace {

constexpr std::size_t kXmppBufferBytes = std::size_t{128} * 1024;
// A server that never ends an element would else fill our memory.
constexpr std::size_t kElementBytesMax = std::size_t{8} * 1024 * 1024;
constexpr std::size_t kExampleBytesMax = 200;
constexpr std::int64_t kGoodbyesNs = 10'000'000'000;
constexpr std::string_view kGoodbye = "</stream:stream>";

std::string Acknowledgement(const Session& session) {
  return "<a xmlns='urn:xmpp:sm:3' h='" + std::to_string(session.stream.handled) + "'/>";
}

}  // namespace

const char* ToString(SessionState state) {
  switch (state) {
    case SessionState::kFree:
      return "free";
    case SessionState::kConnecting:
      return "connecting";
    case SessionState::kHandshaking:
      return "handshaking";
    case SessionState::kLoggingIn:
      return "logging in";
    case SessionState::kReady:
      return "ready";
    case SessionState::kClosing:
      return "closing";
  }
  return "?";
}

XmppEngine::XmppEngine(XmppOptions options)
    : Meter(options.watched),
      options_(std::move(options)),
      sessions_(options_.sessions),
      buffer_(kXmppBufferBytes) {
  for (std::size_t i = 0; i < sessions_.size(); ++i) {
    sessions_[i].index = static_cast<std::uint32_t>(i);
  }
  result_.tls = options_.plan.security != Security::kPlain;
  result_.target = options_.targets.front().ToString();
}

std::expected<std::unique_ptr<XmppEngine>, std::string> XmppEngine::Create(XmppOptions options) {
  if (options.targets.empty()) return std::unexpected("no target");
  std::unique_ptr<XmppEngine> engine(new XmppEngine(std::move(options)));
  engine->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (engine->epoll_ < 0) return std::unexpected(std::string("epoll: ") + std::strerror(errno));
  if (engine->result_.tls) {
    TlsOptions tls = engine->options_.tls;
    if (tls.server_name.empty()) tls.server_name = engine->options_.accounts.domain;
    auto client = TlsClient::Create(tls);
    if (!client) return std::unexpected("TLS: " + client.error());
    engine->tls_ = std::move(*client);
  }
  return engine;
}

XmppEngine::~XmppEngine() {
  for (Session& session : sessions_) {
    if (session.state != SessionState::kFree) Cut(session);
  }
  if (epoll_ >= 0) close(epoll_);
}

Histogram& XmppEngine::Phase(std::string_view name) {
  for (NamedHistogram& phase : result_.phases) {
    if (phase.name == name) return phase.histogram;
  }
  return result_.phases.emplace_back(NamedHistogram{std::string(name), {}}).histogram;
}

// ---- the loop ----------------------------------------------------------------------------------

void XmppEngine::Run(XmppScenario& scenario, std::int64_t stop_ns) {
  scenario_ = &scenario;
  now_ns_ = MonotonicNs();
  run_start_ns_ = now_ns_;
  next_housekeeping_ns_ = now_ns_ + kHousekeepingNs;
  scenario.OnStart(*this);
  while (!scenario.Done()) {
    now_ns_ = MonotonicNs();
    if (StopRequested() || now_ns_ >= stop_ns) {
      result_.interrupted = true;
      break;
    }
    const std::int64_t wake = scenario.OnTick(*this, now_ns_);
    if (scenario.Done()) break;
    Turn(std::min(wake, stop_ns));
  }
  StopWindow();
  if (options_.farewell) SayGoodbyes();
  result_.tls_handshake.Merge(login_phases_[static_cast<std::size_t>(LoginPhase::kTls)]);
  for (std::size_t i = 0; i < kLoginPhases; ++i) {
    const auto phase = static_cast<LoginPhase>(i);
    if (phase != LoginPhase::kTls && login_phases_[i].Count() != 0) {
      Phase(ToString(phase)).Merge(login_phases_[i]);
    }
  }
  if (options_.live) std::fputs("\r\x1b[K", stderr);
}

void XmppEngine::Turn(std::int64_t wake_ns) {
  epoll_event events[kEventsMax];
  const std::int64_t until = std::min(wake_ns, next_housekeeping_ns_);
  const std::int64_t wait = std::max<std::int64_t>(until - MonotonicNs(), 0);
  const timespec limit{wait / 1'000'000'000, wait % 1'000'000'000};
  const int count = epoll_pwait2(epoll_, events, kEventsMax, &limit, nullptr);
  now_ns_ = MonotonicNs();
  for (int i = 0; i < count; ++i) OnEvent(sessions_[events[i].data.u32], events[i].events);
  if (now_ns_ >= next_housekeeping_ns_) {
    next_housekeeping_ns_ = now_ns_ + kHousekeepingNs;
    ExpireSlow();
    if (options_.live) ShowLive(open_);
  }
}

// Sessions that were left open would live on in the server until their resumption times out.
void XmppEngine::SayGoodbyes() {
  leaving_ = true;
  for (Session& session : sessions_) {
    if (session.state == SessionState::kReady) {
      Leave(session);
    } else if (session.state != SessionState::kFree && session.state != SessionState::kClosing) {
      Cut(session);
    }
  }
  const std::int64_t deadline = MonotonicNs() + kGoodbyesNs;
  while (open_ > 0 && MonotonicNs() < deadline) Turn(deadline);
}

void XmppEngine::Open(Session& session, std::size_t number, std::int64_t intended_ns, bool resume) {
  CHECK(session.state == SessionState::kFree);
  const std::uint64_t n = opened_++;
  const std::size_t turn = session.unreachable          ? session.target + std::size_t{1}
                           : options_.target_by_account ? number
                                                        : n;
  session.target = static_cast<std::uint16_t>(turn % options_.targets.size());
  session.unreachable = false;
  const Endpoint& to = options_.targets[session.target];
  const Endpoint* from =
      options_.sources.empty() ? nullptr : &options_.sources[n % options_.sources.size()];
  session.intended_ns = intended_ns;
  session.phase_ns = MonotonicNs();
  session.state = SessionState::kConnecting;
  session.read_ended = false;
  session.splitter.Reset();
  session.in.clear();
  session.out.clear();
  ++session.epoch;
  if (Measuring()) {
    ++result_.started;
    if (resume) ++result_.resumptions;
  }
  session.login = std::make_unique<Login>(options_.plan, AccountOf(options_.accounts, number),
                                          salted_, session.stream, resume);
  const auto fd = Connect(to, from);
  ++open_;
  result_.held_max = std::max<std::uint64_t>(result_.held_max, open_);
  if (!fd) {
    const bool scarce = fd.error() == EMFILE || fd.error() == ENFILE ||
                        fd.error() == EADDRNOTAVAIL || fd.error() == ENOBUFS;
    Fail(session, scarce ? FailReason::kResources : FailReason::kConnect);
    return;
  }
  session.fd = *fd;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u32 = session.index;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, session.fd, &event) != 0) {
    Fail(session, FailReason::kResources);
  }
}

void XmppEngine::Cut(Session& session) {
  CHECK(session.state != SessionState::kFree);
  if (session.ssl != nullptr) {
    SSL_set_quiet_shutdown(session.ssl, 1);
    SSL_free(session.ssl);
    ERR_clear_error();
    session.ssl = nullptr;
  }
  if (session.fd >= 0) close(session.fd);
  session.fd = -1;
  session.login.reset();
  session.state = SessionState::kFree;
  ++session.epoch;
  --open_;
}

void XmppEngine::Leave(Session& session) {
  CHECK(session.state == SessionState::kReady);
  session.state = SessionState::kClosing;
  session.phase_ns = MonotonicNs();
  // The last acknowledgement, or what came since the one before would be given again.
  if (session.stream.managed) Send(session, Acknowledgement(session));
  session.stream = StreamState{};
  Send(session, kGoodbye);
}

void XmppEngine::Ended(Session& session, FailReason reason) {
  if (session.state != SessionState::kClosing) return Fail(session, reason);
  Cut(session);
  if (!leaving_) scenario_->OnClosed(*this, session);
}

void XmppEngine::Fail(Session& session, FailReason reason) {
  const bool was_ready = session.state == SessionState::kReady;
  session.unreachable = reason == FailReason::kConnect;
  if (result_.examples.size() < kExamplesMax && reason != FailReason::kRefused) {
    const char* during =
        session.state == SessionState::kLoggingIn ? ToString(session.login->phase()) : "";
    Example(std::string(ToString(reason)) + " while " + ToString(session.state) + " " + during);
  }
  Cut(session);
  if (was_ready) {
    ++result_.lost;
  } else {
    ++result_.failed[static_cast<std::size_t>(reason)];
  }
  if (!leaving_) scenario_->OnFail(*this, session, was_ready);
}

void XmppEngine::CountFailure(FailReason reason, std::string_view example) {
  ++result_.failed[static_cast<std::size_t>(reason)];
  if (!example.empty()) Example(example.substr(0, kExampleBytesMax));
}

void XmppEngine::Example(std::string_view text) {
  if (result_.examples.size() < kExamplesMax) result_.examples.emplace_back(text);
}

// ---- a connection's events ---------------------------------------------------------------------

void XmppEngine::OnEvent(Session& session, std::uint32_t events) {
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) session.read_ended = true;
  switch (session.state) {
    case SessionState::kFree:
      return;
    case SessionState::kConnecting:
      if ((events & (EPOLLERR | EPOLLHUP)) != 0) return Fail(session, FailReason::kConnect);
      if ((events & EPOLLOUT) != 0) OnConnected(session);
      return;
    case SessionState::kHandshaking:
      return ContinueHandshake(session);
    case SessionState::kLoggingIn:
    case SessionState::kReady:
    case SessionState::kClosing:
      break;
  }
  const std::uint32_t epoch = session.epoch;
  if ((events & EPOLLOUT) != 0 && !session.out.empty()) Flush(session);
  if (session.epoch != epoch) return;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) Receive(session);
}

void XmppEngine::OnConnected(Session& session) {
  Record(result_.tcp_connect, session.phase_ns);
  session.phase_ns = MonotonicNs();
  if (options_.plan.security == Security::kDirectTls) return StartTls(session);
  session.state = SessionState::kLoggingIn;
  std::string out;
  session.login->Begin(out);
  Send(session, out);
}

void XmppEngine::StartTls(Session& session) {
  session.state = SessionState::kHandshaking;
  session.ssl = tls_->NewConnection(session.fd);
  if (session.ssl == nullptr) return Fail(session, FailReason::kResources);
  SSL_set_connect_state(session.ssl);
  // A record in one system call, not its head and then its body: Receive reads until none is left.
  SSL_set_read_ahead(session.ssl, 1);
  ContinueHandshake(session);
}

void XmppEngine::ContinueHandshake(Session& session) {
  const int done = SSL_connect(session.ssl);
  if (done != 1) {
    const int error = SSL_get_error(session.ssl, done);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
    Example("TLS: " + TlsClient::LastError());
    return Fail(session, FailReason::kHandshake);
  }
  if (Measuring()) ++result_.handshakes;
  EndPhase(session, LoginPhase::kTls);
  session.state = SessionState::kLoggingIn;
  session.splitter.Reset();
  std::string out;
  session.login->OnSecure(out);
  Send(session, out);
}

void XmppEngine::Send(Session& session, std::string_view bytes) {
  if (session.out.empty() && session.ssl == nullptr) {
    const ssize_t n = send(session.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
    // A broken connection shows itself by its event.
    if (n < 0 && errno != EAGAIN && errno != EINTR) return;
    session.out.append(bytes);
    return;
  }
  session.out.append(bytes);
  Flush(session);
}

void XmppEngine::Flush(Session& session) {
  std::size_t sent = 0;
  while (sent < session.out.size()) {
    const char* data = session.out.data() + sent;
    const std::size_t left = session.out.size() - sent;
    if (session.ssl != nullptr) {
      const int n = SSL_write(session.ssl, data, static_cast<int>(left));
      if (n <= 0) {
        ERR_clear_error();
        break;
      }
      sent += static_cast<std::size_t>(n);
    } else {
      const ssize_t n = send(session.fd, data, left, MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<std::size_t>(n);
    }
  }
  session.out.erase(0, sent);
}

std::int64_t XmppEngine::ReceiveSome(Session& session) {
  if (session.ssl != nullptr) {
    const int n = SSL_read(session.ssl, buffer_.data(), static_cast<int>(buffer_.size()));
    if (n > 0) return n;
    const int error = SSL_get_error(session.ssl, n);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return kWouldBlock;
    ERR_clear_error();
    return error == SSL_ERROR_ZERO_RETURN ? kEnded : kBroken;
  }
  const ssize_t n = recv(session.fd, buffer_.data(), buffer_.size(), 0);
  if (n >= 0) return n;
  return errno == EAGAIN || errno == EINTR ? kWouldBlock : kBroken;
}

void XmppEngine::Receive(Session& session) {
  const std::uint32_t epoch = session.epoch;
  while (true) {
    const bool plain = session.ssl == nullptr;
    const std::int64_t n = ReceiveSome(session);
    if (n == kWouldBlock) return;
    if (n == kEnded) return Ended(session, FailReason::kClosed);
    if (n == kBroken) return Ended(session, FailReason::kReset);
    const auto size = static_cast<std::size_t>(n);
    if (Measuring()) result_.bytes += size;
    const std::string_view fresh(buffer_.data(), size);
    if (session.in.empty()) {
      if (!Split(session, fresh)) return;
    } else {
      std::string data = std::move(session.in);
      session.in.clear();
      data += fresh;
      if (data.size() > kElementBytesMax) return Fail(session, FailReason::kMismatch);
      if (!Split(session, data)) return;
    }
    if (session.epoch != epoch || session.state == SessionState::kHandshaking) return;
    // A short read has emptied the socket; only an end may follow, which was announced.
    if (plain && size < buffer_.size() && !session.read_ended) return;
  }
}

// Hands out what is whole and keeps the rest; false when the connection is gone.
bool XmppEngine::Split(Session& session, std::string_view data) {
  const std::uint32_t epoch = session.epoch;
  while (true) {
    const XmlItem item = session.splitter.Next(data);
    data.remove_prefix(session.splitter.Used());
    if (item.kind == XmlKind::kNeedMore) break;
    OnItem(session, item);
    if (session.epoch != epoch) return false;
  }
  session.in.assign(data);
  return true;
}

// ---- elements ----------------------------------------------------------------------------------

void XmppEngine::OnItem(Session& session, const XmlItem& item) {
  if (item.kind == XmlKind::kError) {
    Example("the server sent what is no XMPP");
    return Fail(session, FailReason::kMismatch);
  }
  if (item.kind == XmlKind::kClose) return Ended(session, FailReason::kClosed);
  if (item.kind != XmlKind::kElement) return;
  if (session.state == SessionState::kLoggingIn) {
    OnLogin(session, item.text);
  } else {
    OnStanza(session, item.text);
  }
}

void XmppEngine::EndPhase(Session& session, LoginPhase phase) {
  const std::int64_t now = MonotonicNs();
  if (Measuring() && phase < LoginPhase::kDone) {
    login_phases_[static_cast<std::size_t>(phase)].Record(now - session.phase_ns);
  }
  session.phase_ns = now;
}

void XmppEngine::OnLogin(Session& session, std::string_view element) {
  const LoginPhase before = session.login->phase();
  const bool managed = session.stream.managed;
  std::string out;
  const LoginStep step = session.login->OnElement(element, out);
  if (step == LoginStep::kFail) {
    Example(session.login->Error());
    return Fail(session, FailReason::kRefused);
  }
  if (session.login->phase() != before) EndPhase(session, before);
  if (!out.empty()) Send(session, out);
  if (managed) AnswerBySelf(session, element);
  if (step == LoginStep::kRestart) session.splitter.Reset();
  if (step == LoginStep::kHandshake) return StartTls(session);
  if (step == LoginStep::kDone) BecomeReady(session);
}

void XmppEngine::BecomeReady(Session& session) {
  if (session.login->ResumeRefused() && Measuring()) ++result_.resumptions_refused;
  session.resumed = session.login->Resumed();
  session.login.reset();
  session.state = SessionState::kReady;
  ++result_.opened;
  scenario_->OnReady(*this, session);
}

// What a client's library does without its user; true when the scenario need not see the element.
bool XmppEngine::AnswerBySelf(Session& session, std::string_view element) {
  const char first = element.size() > 1 ? element[1] : '\0';
  if (first == 'r' && LocalName(element) == "r") {
    Send(session, Acknowledgement(session));
    scenario_->OnAcknowledged(*this, session);
    return true;
  }
  // Stanzas only: message, presence, iq.
  if (first != 'm' && first != 'p' && first != 'i') return false;
  ++session.stream.handled;
  if (first != 'i' || Attribute(element, "type") != "get") return false;
  const std::string_view from = Attribute(element, "from");
  std::string answer = "<iq type='result' id='" + std::string(Attribute(element, "id"));
  if (!from.empty()) answer.append("' to='").append(from);
  ++session.stream.sent;
  Send(session, answer + "'/>");
  return true;
}

void XmppEngine::OnStanza(Session& session, std::string_view element) {
  if (session.state == SessionState::kClosing) return;  // we have said our last word
  if (element.starts_with("<stream:error")) {
    Example(element.substr(0, kExampleBytesMax));
    return Ended(session, FailReason::kClosed);
  }
  if (AnswerBySelf(session, element)) return;
  scenario_->OnElement(*this, session, element);
}

// ---- housekeeping ------------------------------------------------------------------------------

void XmppEngine::ExpireSlow() {
  for (Session& session : sessions_) {
    if (session.state == SessionState::kFree || session.state == SessionState::kReady) continue;
    if (now_ns_ - session.phase_ns < options_.timeout_ns) continue;
    if (session.state == SessionState::kClosing) {
      Ended(session, FailReason::kTimeout);
    } else {
      Fail(session, FailReason::kTimeout);
    }
  }
}

}  // namespace bench
