// Nodes that share a store find each other in it: each shows itself there, and reads who else did.
//
// On the node's thread; ends before the store.
#pragma once

#include <memory>
#include <string>

#include "server/node/discovery.h"
#include "server/store/backend.h"

namespace server {

// Often while little is known, so that nodes that start together meet soon; then rarely.
inline constexpr int kLooksOften = 30;    // seconds; each shows the node
inline constexpr int kLooksBetween = 60;  // afterwards, seconds

std::unique_ptr<DiscoverySource> DiscoveryStore(std::unique_ptr<StoreKeeper> keeper,
                                                std::string node);

}  // namespace server
