#include "net/dns/name_lookup.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace net {

struct NameLookup::Shared {
  struct Question {
    std::string name;
    std::move_only_function<void(Result)> done;
  };
  NameLookupOptions options;
  Resolver resolver;
  std::mutex mutex;  // guards what follows
  std::condition_variable wake;
  std::deque<Question> waiting;
  size_t threads = 0;
  size_t idle = 0;
  bool stopped = false;

  // A thread's life. It holds the shared state: the owner may be gone while it blocks.
  static void Serve(const std::shared_ptr<Shared>& shared) {
    std::unique_lock lock(shared->mutex);
    while (true) {
      ++shared->idle;
      shared->wake.wait(lock, [&] { return shared->stopped || !shared->waiting.empty(); });
      --shared->idle;
      if (shared->stopped) return;
      Question question = std::move(shared->waiting.front());
      shared->waiting.pop_front();
      lock.unlock();
      Result result = shared->resolver(question.name);
      lock.lock();
      // Under the lock, so that none runs once the destructor has begun. It only posts.
      if (!shared->stopped) question.done(std::move(result));
    }
  }
};

NameLookup::NameLookup(NameLookupOptions options, Resolver resolver)
    : shared_(std::make_shared<Shared>()) {
  shared_->options = options;
  shared_->resolver = resolver ? std::move(resolver) : Resolver(AskSystem);
}

NameLookup::~NameLookup() {
  std::deque<Shared::Question> dropped;
  {
    std::lock_guard lock(shared_->mutex);
    shared_->stopped = true;
    dropped.swap(shared_->waiting);
  }
  shared_->wake.notify_all();
}

void NameLookup::Ask(std::string name, std::move_only_function<void(Result)> done) {
  {
    std::lock_guard lock(shared_->mutex);
    if (shared_->waiting.size() < shared_->options.waiting_max) {
      shared_->waiting.push_back({std::move(name), std::move(done)});
      if (shared_->idle < shared_->waiting.size() && shared_->threads < shared_->options.threads) {
        ++shared_->threads;
        std::thread([shared = shared_] { Shared::Serve(shared); }).detach();
      }
      shared_->wake.notify_one();
      return;
    }
  }
  done(std::unexpected("too many names wait to be looked up"));
}

NameLookup::Result NameLookup::AskSystem(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(name.c_str(), nullptr, &hints, &found);
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  if (failed != 0) return std::unexpected(std::string(gai_strerror(failed)));
  std::vector<Address> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    auto address = Address::FromSockaddr(one->ai_addr, one->ai_addrlen);
    if (!address) continue;
    if (std::ranges::find(addresses, *address) == addresses.end()) addresses.push_back(*address);
  }
  if (addresses.empty()) return std::unexpected("it has no IP address");
  return addresses;
}

}  // namespace net
