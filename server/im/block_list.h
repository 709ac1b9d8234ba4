// Whom a user wants nothing of, and who gets nothing of the user (XEP-0191): addresses as they were
// given, matched as section 3.4 says: full, bare, domain with resource, domain.
//
// One thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/xmpp/jid.h"

namespace server {

class BlockList {
 public:
  void Set(std::vector<std::string> blocked) { blocked_ = std::move(blocked); }
  bool Blocks(const Jid& other) const;
  bool Has(std::string_view address) const;
  void Add(std::string_view address);
  void Remove(std::string_view address);
  const std::vector<std::string>& addresses() const { return blocked_; }

 private:
  std::vector<std::string> blocked_;
};

}  // namespace server
