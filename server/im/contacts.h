// A user's contacts as presence needs them: who they are and which way presence goes, packed into
// one block. Names and groups stay in the store, which is asked when a roster is.
//
// An entry costs three bytes and its address; of an address in the user's own domain the localpart.
// Looking one up reads the block: a few microseconds for the largest roster that is allowed.
//
// One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/im/subscription.h"

namespace server {

class Contacts {
 public:
  // `own_domain` is the same in all calls: the user's.
  void Set(const std::vector<RosterItem>& items, std::string_view own_domain);
  ContactState Find(std::string_view jid, std::string_view own_domain) const;
  // What has nothing to be remembered is taken out.
  void Put(std::string_view jid, const ContactState& state, std::string_view own_domain);

  // visit(const std::string& jid, ContactState)
  template <typename Visit>
  void ForEach(std::string_view own_domain, Visit visit) const {
    std::string jid;
    for (size_t at = 0; at < packed_.size();) {
      const Entry entry = Read(at);
      jid = entry.key;
      if (jid.ends_with('@')) jid += own_domain;
      visit(std::as_const(jid), StateIn(entry.flags));
      at += entry.size;
    }
  }
  size_t size() const { return size_; }
  size_t pending_in() const { return pending_in_; }

 private:
  static constexpr size_t kHead = 3;
  struct Entry {
    uint8_t flags;
    std::string_view key;
    size_t size;
  };

  Entry Read(size_t at) const;
  size_t At(std::string_view key) const;  // npos
  static uint8_t Flags(const ContactState& state);
  static ContactState StateIn(uint8_t flags);

  std::string packed_;
  uint32_t size_ = 0;
  uint32_t pending_in_ = 0;
};

ContactState ContactOf(const RosterItem& item);

}  // namespace server
