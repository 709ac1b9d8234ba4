#include "server/c2s/session.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "server/c2s/sasl_channel.h"

namespace server {

net::Duration ThreadCpu() {
  timespec used{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

Session::Session(SessionGround& worker, net::Conn& conn, net::Admission admission, uint64_t serial,
                 std::unique_ptr<SaslChannel> behind)
    : worker_(worker),
      conn_(&conn),
      admission_(std::move(admission)),
      serial_(serial),
      behind_(std::move(behind)),
      stream_(worker.ground(), *this) {}

Session::~Session() = default;

void Session::Arm() {
  if (stream_.state() == ClientStream::State::kEnded) return;
  conn_->WakeIn(stream_.Due());
}

void Session::OnOpen(net::Conn&, std::unique_ptr<net::TlsFacts> facts) {
  if (facts != nullptr) {
    stream_.OnConnected(ChannelOf(*facts));
  } else {
    const auto behind = std::exchange(behind_, nullptr);
    stream_.OnConnected(behind == nullptr ? SaslChannel{} : std::move(*behind));
  }
  Arm();
}

void Session::OnBytes(net::Conn&, std::span<uint8_t> bytes) {
  if (stream_.state() == ClientStream::State::kEnded) return;
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (stream_.unauthenticated()) {
    const net::Duration before = ThreadCpu();
    stream_.Receive(text);
    worker_.OnLoginCpu(ThreadCpu() - before);
  } else {
    stream_.Receive(text);
  }
  Arm();
}

void Session::OnEnd(net::Conn& conn, net::PeerEnd end) {
  if (stream_.state() == ClientStream::State::kEnded) return;
  Lost();
  conn.End(end == net::PeerEnd::kGraceful ? net::EndReason::kPeerClosed
                                          : net::EndReason::kPeerTruncated);
}

void Session::OnDue(net::Conn&) {
  stream_.OnDue();
  Arm();
}

void Session::OnClosed(net::Conn&, const net::Ended& ended) {
  TellUnsent(ended.unsent);
  Lost();
  worker_.Forget(*this);  // this is gone
}

void Session::SendAway(std::string_view text) {
  stream_.SendAway(text);
  if (stream_.leaving()) Arm();
}

void Session::Settled(uint32_t number) {
  stream_.Settled(number);
  if (stream_.leaving()) Arm();
}

void Session::Cut() {
  Lost();
  conn_->End(net::EndReason::kDrained);
}

// The connection is, without a word: the session may come back.
void Session::Lost() { worker_.Park(*this, stream_.TakeSession()); }

bool Session::TellSent() {
  // Of a connection that ends, the end tells what of it is out: OnClosed() is next.
  if (unsent_ == nullptr || conn_->state() >= net::Conn::State::kClosing) return unsent_ != nullptr;
  // Of TLS the conn counts records: one that is not out whole tells the client nothing.
  TellTaken(conn_->queued());
  return unsent_ != nullptr;
}

// All but the last `queued` bytes, and what the conn refused, is out.
void Session::TellTaken(uint64_t queued) {
  const uint64_t sent = written_ - std::min(written_, refused_ + queued);
  std::vector<TicketEnd> ended;
  auto& ones = unsent_->ones;
  const auto first = std::ranges::find_if(ones, [&](const auto& one) { return one.behind > sent; });
  if (first == ones.begin()) return;  // most turns: nothing went out
  for (auto it = ones.begin(); it != first; ++it) ended.push_back(it->end);
  ones.erase(ones.begin(), first);
  const SessionId id = unsent_->id;
  const Jid full = unsent_->full;
  if (ones.empty()) unsent_.reset();
  worker_.TellDelivered(id, full, ended);
}

// The connection has ended: what the kernel did not take is lost.
void Session::TellUnsent(uint64_t queued) {
  if (unsent_ != nullptr) TellTaken(queued);
  if (unsent_ == nullptr) return;
  const auto lost = std::move(unsent_);
  std::vector<TicketEnd> ended;
  for (const auto& one : lost->ones) {
    ended.push_back({one.end.ticket, DeliveryEnd::kLost, one.end.home});
  }
  worker_.TellDelivered(lost->id, lost->full, ended);
}

std::unique_ptr<BoundSession> Session::Yield(net::StreamError error, std::string_view text) {
  auto session = stream_.TakeSession();
  id_ = {};
  stream_.End(error, text);
  return session;
}

// --- ClientPort

net::Time Session::Now() const { return worker_.Now(); }
int64_t Session::UnixUs() const { return worker_.UnixUs(); }

void Session::Write(std::string_view xml) {
  written_ += xml.size();
  if (conn_->Send(xml) == net::Conn::Sent::kClosed) refused_ += xml.size();
}

bool Session::HasTls(std::string_view domain) const { return worker_.TlsFor(domain) != nullptr; }

void Session::StartTls(std::string_view domain) {
  conn_->StartTls({.server = worker_.TlsFor(domain)});
}

void Session::Look(const Jid& user) { worker_.Look(serial_, user); }
void Session::Check(PasswordCheck check) { worker_.Check(serial_, std::move(check)); }

bool Session::MayTry(const Jid& user) { return worker_.MayTry(user, conn_->peer()); }
void Session::OnGuess(const Jid* user) { worker_.OnGuess(user, conn_->peer()); }

void Session::SignUp(SignUpRequest request) {
  worker_.SignUp(serial_, std::move(request), conn_->peer());
}

void Session::Bind(const Jid& user, std::string resource,
                   std::shared_ptr<const LoadedUser> loaded) {
  worker_.BindSession(*this, user, std::move(resource), std::move(loaded));
}

void Session::Resume(const Jid& user, std::string previd, uint32_t h) {
  worker_.ResumeSession(*this, user, previd, h);
}

void Session::Arrived(BoundSession& session, Stanza stanza, uint32_t number) {
  worker_.homes().Arrive(session.id(), session.full().Bare(), std::move(stanza),
                         number == 0 ? SenderMark{} : SenderMark{session.id(), number});
}

void Session::StateChanged(BoundSession& session) {
  worker_.homes().Changed(session.id(), session.full().Bare(), session.State(false));
}

void Session::Delivered(BoundSession& session, std::span<const TicketEnd> ended) {
  if (session.managed()) return worker_.TellDelivered(session.id(), session.full(), ended);
  if (unsent_ == nullptr) {
    unsent_ =
        std::make_unique<Unsent>(Unsent{.id = session.id(), .full = session.full(), .ones = {}});
    worker_.AwaitSent(*this);
  }
  for (const TicketEnd& end : ended) unsent_->ones.push_back({end, written_});
}

void Session::Hold(bool hold) {
  if (hold) {
    conn_->Pause();
  } else {
    conn_->Resume();
  }
}

void Session::OnStreamOver() {
  if (stream_.dead()) {
    Lost();
    conn_->End(net::EndReason::kIdle);
    return;
  }
  worker_.EndSession(*this, stream_.TakeSession());
  conn_->WakeIn({});
  conn_->Shutdown();
}

}  // namespace server
