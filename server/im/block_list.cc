#include "server/im/block_list.h"

#include <algorithm>

namespace server {

bool BlockList::Has(std::string_view address) const {
  return std::ranges::find(blocked_, address) != blocked_.end();
}

bool BlockList::Blocks(const Jid& other) const {
  if (blocked_.empty()) return false;
  if (Has(other.full()) || Has(other.bare()) || Has(other.domain())) return true;
  if (other.resource().empty()) return false;
  std::string domain_resource(other.domain());
  (domain_resource += '/') += other.resource();
  return Has(domain_resource);
}

void BlockList::Add(std::string_view address) {
  if (!Has(address)) blocked_.emplace_back(address);
}

void BlockList::Remove(std::string_view address) { std::erase(blocked_, address); }

}  // namespace server
