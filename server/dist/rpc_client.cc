#include "server/dist/rpc_client.h"

#include <sys/random.h>

#include <utility>

#include "net/base/byte_reader.h"
#include "net/base/check.h"
#include "server/dist/blocking_stream.h"
#include "server/dist/epmd.h"
#include "server/dist/flags.h"
#include "server/dist/handshake.h"
#include "server/dist/host_lookup.h"
#include "server/dist/link.h"
#include "server/dist/node_name.h"
#include "server/dist/services.h"

namespace server {
namespace {

using ErrorKind = RpcClientError::Kind;
using Failure = std::unexpected<RpcClientError>;

constexpr size_t kAnswerBytesMax = 64U << 20U;

Failure Fail(ErrorKind kind, std::string what) { return Failure({kind, std::move(what)}); }

uint32_t Random() {
  uint32_t value = 0;
  CHECK(getrandom(&value, sizeof value, 0) == sizeof value);
  return value;
}

std::expected<uint16_t, RpcClientError> AskPort(const RpcClient::Options& options,
                                                const net::Address& address, net::Time deadline) {
  if (options.fixed_port) return *options.fixed_port;
  const net::Address epmd = address.WithPort(options.epmd_port);
  auto stream = BlockingStream::Connect(epmd, deadline);
  if (!stream) return Fail(ErrorKind::kNoEpmd, "no epmd answers at " + epmd.ToString());
  TermBuffer question;
  const std::string alive(SplitNodeName(options.node).alive);
  PutEpmdPortQuestion(&question, alive);
  std::vector<uint8_t> answer;
  if (!(*stream)->Write(question, deadline)) return Fail(ErrorKind::kNoEpmd, "epmd closed");
  while (true) {
    auto port = ReadEpmdPort(answer);
    if (port) return port->port;
    if (port.error() == EpmdError::kUnknown) {
      return Fail(ErrorKind::kUnknown, "epmd at " + epmd.ToString() + " knows no node " + alive);
    }
    if (port.error() != EpmdError::kMore || answer.size() > kEpmdAnswerMax) {
      return Fail(ErrorKind::kNoEpmd, "what answers at " + epmd.ToString() + " is no epmd");
    }
    if (auto read = (*stream)->Read(&answer, deadline); !read) {
      return Fail(read.error() == BlockingStream::Error::kTimeout ? ErrorKind::kTimeout
                                                                  : ErrorKind::kNoEpmd,
                  "epmd at " + epmd.ToString() + " gave no answer");
    }
  }
}

}  // namespace

class RpcClient::Impl final : private PeerSession::Sink {
 public:
  Impl()
      : services_({.on_link_message = [](PeerSession&, const TermView&) {},
                   .count = [](ServiceEvent) {},
                   .reply_sink = nullptr},
                  {}) {
    session_.id = 1;
    session_.sink = this;
  }

  std::expected<void, RpcClientError> Connect(const Options& options);
  bool Alive();
  RpcResult Call(std::string_view module, std::string_view function, std::span<const Term> args,
                 net::Duration timeout);
  const std::string& name() const { return services_.self().node; }

 private:
  void Put(std::span<const uint8_t> frame) override {
    out_.insert(out_.end(), frame.begin(), frame.end());
  }
  std::expected<void, RpcClientError> StartTls(const Options& options, net::Time deadline);
  std::expected<void, RpcClientError> Shake(const Options& options, net::Time deadline);
  bool ReadFrames();
  bool Flush(net::Time deadline);
  void Lost();

  net::SystemClock clock_;
  net::Duration tick_time_{};
  std::unique_ptr<net::TlsWorker> tls_;
  std::unique_ptr<BlockingStream> stream_;
  Services services_;
  PeerSession session_;
  std::vector<uint8_t> in_;
  TermBuffer out_;
};

std::expected<void, RpcClientError> RpcClient::Impl::Connect(const Options& options) {
  const net::Time deadline = clock_.Now() + options.connect_time;
  tick_time_ = options.net_ticktime / kTicksPerTime;
  auto addresses = LookUpHost(std::string(SplitNodeName(options.node).host), options.ipv6);
  if (!addresses) return Fail(ErrorKind::kHost, addresses.error());
  std::expected<void, RpcClientError> result;
  for (const net::Address& address : *addresses) {
    auto port = AskPort(options, address, deadline);
    if (!port) {
      result = std::unexpected(port.error());
      continue;
    }
    auto stream = BlockingStream::Connect(address.WithPort(*port), deadline);
    if (!stream) {
      result = Fail(stream.error() == BlockingStream::Error::kTimeout ? ErrorKind::kTimeout
                                                                      : ErrorKind::kNoNode,
                    "nobody answers at " + address.WithPort(*port).ToString());
      continue;
    }
    stream_ = std::move(*stream);
    if (auto secured = StartTls(options, deadline); !secured) return secured;
    return Shake(options, deadline);
  }
  return result;
}

std::expected<void, RpcClientError> RpcClient::Impl::StartTls(const Options& options,
                                                              net::Time deadline) {
  if (!options.tls) return {};
  auto worker = net::TlsWorker::Create();
  if (!worker) return Fail(ErrorKind::kProtocol, "TLS: " + worker.error());
  tls_ = std::move(*worker);
  const std::string host(SplitNodeName(options.node).host);
  auto engine = tls_->NewClient(options.tls.client, {.server_name = host});
  if (!engine) return Fail(ErrorKind::kProtocol, "TLS: no memory");
  if (!stream_->StartTls(std::move(engine), deadline)) {
    return Fail(ErrorKind::kProtocol, "the node's TLS handshake failed");
  }
  return {};
}

std::expected<void, RpcClientError> RpcClient::Impl::Shake(const Options& options,
                                                           net::Time deadline) {
  const std::string host(SplitNodeName(options.node).host);
  Handshake handshake = Handshake::Dial({.node = host,
                                         .cookie = options.cookie,
                                         .creation = 0,
                                         .flags = kDistFlagsOurs | dist_flag::kNameMe,
                                         .challenge = Random(),
                                         .length_bytes = options.tls ? size_t{4} : size_t{2}},
                                        options.node);
  TermBuffer out;
  handshake.Start(&out);
  while (handshake.state() == Handshake::State::kGoing) {
    if (!out.empty() && !stream_->Write(out, deadline)) {
      return Fail(ErrorKind::kProtocol, "the node closed the connection");
    }
    out.clear();
    if (auto read = stream_->Read(&in_, deadline); !read) {
      if (read.error() == BlockingStream::Error::kTimeout) {
        return Fail(ErrorKind::kTimeout, "the node does not answer");
      }
      // The node closes without a word when the digest is wrong.
      return Fail(ErrorKind::kCookie, "the node closed the connection; do the cookies differ?");
    }
    const size_t taken = handshake.Feed(in_, &out);
    in_.erase(in_.begin(), in_.begin() + static_cast<long>(taken));
  }
  if (handshake.state() == Handshake::State::kFailed) {
    std::string what(ToString(handshake.error()));
    if (!handshake.detail().empty()) what += ": " + handshake.detail();
    const HandshakeError error = handshake.error();
    return Fail(error == HandshakeError::kWrongCookie  ? ErrorKind::kCookie
                : error == HandshakeError::kNotAllowed ? ErrorKind::kNotAllowed
                                                       : ErrorKind::kProtocol,
                std::move(what));
  }
  services_.SetSelf({.node = handshake.given_name(), .creation = handshake.given_creation()});
  session_.peer.node = options.node;
  return {};
}

bool RpcClient::Impl::Flush(net::Time deadline) {
  const TermBuffer out = std::exchange(out_, {});
  return out.empty() || stream_->Write(out, deadline).has_value();
}

// False: the peer is at fault.
bool RpcClient::Impl::ReadFrames() {
  size_t taken = 0;
  while (in_.size() - taken >= kFrameLengthBytes) {
    const std::span<const uint8_t> rest = std::span<const uint8_t>(in_).subspan(taken);
    const size_t size = net::ByteReader(rest).Number(kFrameLengthBytes);
    if (size > kAnswerBytesMax) return false;
    if (rest.size() < kFrameLengthBytes + size) break;
    taken += kFrameLengthBytes + size;
    if (size > 0 && !services_.OnFrame(session_, rest.subspan(kFrameLengthBytes, size))) {
      return false;
    }
  }
  in_.erase(in_.begin(), in_.begin() + static_cast<long>(taken));
  return true;
}

void RpcClient::Impl::Lost() {
  stream_.reset();
  services_.OnLost(session_);
}

bool RpcClient::Impl::Alive() {
  // A stream looks for what is there until its deadline, once at least before it.
  const net::Time deadline = clock_.Now() + std::chrono::milliseconds(1);
  while (stream_ != nullptr) {
    auto read = stream_->Read(&in_, deadline);
    if (!read && read.error() == BlockingStream::Error::kTimeout) return true;
    if (!read || !ReadFrames()) Lost();
  }
  return false;
}

RpcResult RpcClient::Impl::Call(std::string_view module, std::string_view function,
                                std::span<const Term> args, net::Duration timeout) {
  RpcResult result = std::unexpected(RpcError{RpcError::Kind::kNodeDown, Term::Atom("nodedown")});
  if (stream_ == nullptr) return result;
  bool done = false;
  const net::Time deadline = clock_.Now() + timeout;
  CallDone callback = [&](RpcResult answer) {
    result = std::move(answer);
    done = true;
  };
  CHECK(services_.Call(session_, module, function, args, deadline, &callback));
  net::Time next_tick = clock_.Now() + tick_time_;
  while (!done) {
    // Whatever comes meanwhile: the node ticks as well.
    if (clock_.Now() >= next_tick) {
      Put(std::array<uint8_t, kFrameLengthBytes>{});
      next_tick = clock_.Now() + tick_time_;
    }
    if (!Flush(deadline)) {
      Lost();
      break;
    }
    auto read = stream_->Read(&in_, std::min(deadline, next_tick));
    if (read) {
      if (!ReadFrames()) Lost();
    } else if (read.error() != BlockingStream::Error::kTimeout) {
      Lost();
    } else if (clock_.Now() >= deadline) {
      services_.Expire(clock_.Now());
    }
  }
  return result;
}

RpcClient::RpcClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RpcClient::~RpcClient() = default;

std::expected<std::unique_ptr<RpcClient>, RpcClientError> RpcClient::Connect(
    const Options& options) {
  if (!IsNodeName(options.node)) {
    return Fail(ErrorKind::kHost,
                "'" + options.node + "' is no name of a node: it wants name@host");
  }
  auto impl = std::make_unique<Impl>();
  if (auto connected = impl->Connect(options); !connected) {
    return std::unexpected(connected.error());
  }
  return std::unique_ptr<RpcClient>(new RpcClient(std::move(impl)));
}

const std::string& RpcClient::name() const { return impl_->name(); }

bool RpcClient::Alive() { return impl_->Alive(); }

RpcResult RpcClient::Call(std::string_view module, std::string_view function,
                          std::span<const Term> args, net::Duration timeout) {
  return impl_->Call(module, function, args, timeout);
}

}  // namespace server
