#include "dns/serve/zone_pull.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "dns/serve/now.h"
#include "dns/serve/zone_copy.h"
#include "dns/tsig/tsig.h"
#include "dns/zone/digest.h"
#include "dns/zone/transfer_reader.h"
#include "net/base/check.h"

namespace dns {
namespace {

using IoResult = std::expected<void, std::string>;

net::Time Now() { return net::SystemClock().Now(); }

// One connection to a primary. The thread's own.
class Connection {
 public:
  Connection(const PullRequest& request, int stop, net::Time whole_until)
      : request_(request), stop_(stop), whole_until_(whole_until) {}

  IoResult Open(const net::Address& to) {
    net::SocketName name = to.ToSocketName();
    fd_ = net::UniqueFd(socket(name.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd_) return Failure("no socket");
    if (request_.source && request_.source->family() == to.family()) {
      net::SocketName local = request_.source->WithPort(0).ToSocketName();
      if (bind(fd_.get(), local.get(), local.size()) != 0) return Failure("cannot ask from there");
    }
    if (connect(fd_.get(), name.get(), name.size()) == 0) return {};
    if (errno != EINPROGRESS) return Failure("no connection");
    if (auto ready = Wait(POLLOUT, request_.limits.connect); !ready) return ready;
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    return error == 0 ? IoResult() : Failure("no connection");
  }

  IoResult Send(ByteView message) {
    Bytes framed;
    Append16(framed, message.size());
    Append(framed, message);
    for (ByteView rest = framed; !rest.empty();) {
      ssize_t sent = send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent >= 0) {
        rest = rest.subspan(static_cast<size_t>(sent));
      } else if (errno != EAGAIN && errno != EINTR) {
        return Failure("cannot be sent to");
      } else if (auto ready = Wait(POLLOUT, request_.limits.idle); !ready) {
        return ready;
      }
    }
    return {};
  }

  IoResult Receive(Bytes& message) {
    std::array<uint8_t, 2> size;
    if (auto got = Fill(size); !got) return got;
    message.resize(Get16(size.data()));
    bytes_ += size.size() + message.size();
    return Fill(message);
  }
  size_t bytes() const { return bytes_; }

 private:
  static IoResult Failure(const std::string& what) {
    return std::unexpected(what + ": " + std::strerror(errno));
  }

  IoResult Fill(std::span<uint8_t> out) {
    while (!out.empty()) {
      ssize_t got = recv(fd_.get(), out.data(), out.size(), 0);
      if (got == 0) return std::unexpected("it ended the connection");
      if (got > 0) {
        out = out.subspan(static_cast<size_t>(got));
      } else if (errno != EAGAIN && errno != EINTR) {
        return Failure("the connection broke");
      } else if (auto ready = Wait(POLLIN, request_.limits.idle); !ready) {
        return ready;
      }
    }
    return {};
  }

  IoResult Wait(short what, net::Duration patience) {
    net::Time now = Now();
    net::Time until = std::min(now + patience, whole_until_);
    while (now < until) {
      std::array<pollfd, 2> waiting = {{{fd_.get(), what, 0}, {stop_, POLLIN, 0}}};
      auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now);
      int ready = poll(waiting.data(), waiting.size(), static_cast<int>(left.count()));
      if (waiting[1].revents != 0) return std::unexpected("it is ended");
      if (ready > 0) return {};
      now = Now();
    }
    return std::unexpected("it took too long");
  }

  const PullRequest& request_;
  int stop_;
  net::Time whole_until_;
  net::UniqueFd fd_;
  size_t bytes_ = 0;
};

class Pull {
 public:
  Pull(PullRequest request, int stop)
      : request_(std::move(request)), stop_(stop), until_(Now() + request_.limits.whole) {}

  PullResult Run() {
    PullResult result;
    for (const net::Address& primary : request_.primaries) {
      std::string error = Ask(primary, request_.known, result);
      // Whatever is wrong with the differences: all of it is right.
      if (!error.empty() && request_.known != nullptr && !unreachable_) {
        error = Ask(primary, nullptr, result);
      }
      if (error.empty()) {
        result.done = true;
        result.primary = primary.ToString();
        break;
      }
      result.errors.push_back(primary.ToString() + ": " + error);
    }
    if (!result.done) return result;
    if (result.zone != nullptr) {
      result.content = ContentDigest(*result.zone);
      result.copy_error = WriteZoneCopy(request_.copy, result.zone);
    } else {
      result.copy_error = TouchZoneCopy(request_.copy);
    }
    return result;
  }

 private:
  std::string Ask(const net::Address& primary, const std::shared_ptr<const Zone>& known,
                  PullResult& result) {
    Connection connection(request_, stop_, until_);
    auto opened = connection.Open(primary);
    unreachable_ = !opened;
    if (!opened) return opened.error();
    auto id = static_cast<uint16_t>(SystemSeed());
    Bytes query = MakeTransferQuery(request_.apex, id, known.get());
    std::optional<TsigVerifier> verifier;
    if (request_.key) {
      const TsigKey* key = request_.keys ? request_.keys->Find(request_.key->wire()) : nullptr;
      if (key == nullptr) return "its key is not there";
      TsigSigner signer(request_.keys, *key);
      signer.Sign(query, ReadNow().unix_seconds);
      verifier.emplace(signer);
    }
    if (auto sent = connection.Send(query); !sent) return sent.error();
    TransferReader reader(request_.apex, id, known, request_.size_max);
    Bytes message;
    while (true) {
      if (auto got = connection.Receive(message); !got) return got.error();
      if (verifier) {
        auto good = verifier->Check(message, ReadNow().unix_seconds);
        if (!good) return "its signature: " + good.error();
      }
      auto step = reader.Take(message);
      if (!step) return step.error();
      if (*step == TransferReader::Step::kDone) break;
    }
    if (verifier && !verifier->complete()) return "its last message is not signed";
    auto zone = reader.Finish();
    if (!zone) return zone.error();
    result.zone = std::move(*zone);
    result.incremental = reader.incremental();
    result.bytes = connection.bytes();
    return "";
  }

  PullRequest request_;
  int stop_;
  net::Time until_;
  bool unreachable_ = false;
};

}  // namespace

Bytes MakeTransferQuery(const Name& apex, uint16_t id, const Zone* known) {
  Bytes out;
  Append16(out, id);
  Append16(out, 0);  // QUERY
  Append16(out, 1);
  Append16(out, 0);
  Append16(out, known != nullptr ? 1 : 0);
  Append16(out, 0);
  Append(out, apex.wire());
  Append16(out, static_cast<uint16_t>(known != nullptr ? Type::kIxfr : Type::kAxfr));
  Append16(out, kClassIn);
  if (known == nullptr) return out;
  const Rrset& soa = known->names.at(apex).at(Type::kSoa);
  Append(out, apex.wire());
  Append16(out, static_cast<uint16_t>(Type::kSoa));
  Append16(out, kClassIn);
  Append32(out, soa.ttl);
  Append16(out, soa.rdatas[0].size());
  Append(out, soa.rdatas[0]);
  return out;
}

void Puller::Start(PullRequest request, Done done) {
  CHECK(!full());
  running_.emplace_back();
  auto running = std::prev(running_.end());
  running->stop = net::UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  running->thread = std::thread([this, running, alive = alive_, stop = running->stop.get(),
                                 request = std::move(request), done = std::move(done)]() mutable {
    pthread_setname_np(pthread_self(), "dns-pull");
    auto result = std::make_shared<PullResult>(Pull(std::move(request), stop).Run());
    loop_.Post([this, running, alive = std::move(alive), result, done = std::move(done)]() mutable {
      if (!*alive) return;
      running->thread.join();
      running_.erase(running);
      done(std::move(*result));
    });
  });
}

void Puller::Stop() {
  *alive_ = false;
  for (Running& running : running_) {
    eventfd_write(running.stop.get(), 1);
  }
  for (Running& running : running_) running.thread.join();
  running_.clear();
}

}  // namespace dns
