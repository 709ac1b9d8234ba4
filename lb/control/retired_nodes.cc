#include "lb/control/retired_nodes.h"

namespace lb {
namespace {

// Operations that name a node's address have long been submitted by then.
constexpr net::Duration kRetireAfter = std::chrono::seconds(5);

}  // namespace

void RetiredNodes::Sweep(net::Time now) {
  nodes_.remove_if([&](const auto& retired) {
    return now - retired.first > kRetireAfter && retired.second.use_count() == 1 &&
           retired.second->unused();
  });
}

}  // namespace lb
