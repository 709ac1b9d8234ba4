// Looks host names up as the system does (/etc/hosts, the search list, the resolvers), on threads
// of its own: getaddrinfo blocks for as long as a resolver is silent, and cannot be stopped.
//
// Bounded: at most `threads` look-ups at once and `waiting_max` that wait; more are refused at
// once. The destructor does not wait for those that block: their answers are dropped.
#pragma once

#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/base/address.h"

namespace net {

struct NameLookupOptions {
  size_t threads = 8;
  size_t waiting_max = 4096;
};

class NameLookup {
 public:
  // Addresses without a port, never empty; or why there are none.
  using Result = std::expected<std::vector<Address>, std::string>;
  using Resolver = std::function<Result(const std::string& name)>;

  // `resolver` blocks, on the look-up's threads; a test's own, or the system's.
  explicit NameLookup(NameLookupOptions options = {}, Resolver resolver = nullptr);
  ~NameLookup();
  NameLookup(const NameLookup&) = delete;
  NameLookup& operator=(const NameLookup&) = delete;

  // `done` runs on one of the threads (post it to where it is needed), never after the destructor
  // has begun; from here where the look-up is refused.
  void Ask(std::string name, std::move_only_function<void(Result)> done);

  static Result AskSystem(const std::string& name);  // blocks

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace net
