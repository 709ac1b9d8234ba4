#include "server/im/contacts.h"

#include <utility>

namespace server {
namespace {

// localpart@ stands for an address in the user's own domain.
std::string KeyOf(std::string_view jid, std::string_view own_domain) {
  const size_t at = jid.find('@');
  if (at != std::string_view::npos && jid.substr(at + 1) == own_domain) jid = jid.substr(0, at + 1);
  return std::string(jid);
}

}  // namespace

ContactState ContactOf(const RosterItem& item) {
  return {.subscription = item.subscription,
          .ask = item.ask,
          .approved = item.approved,
          .pending_in = item.pending_in};
}

uint8_t Contacts::Flags(const ContactState& state) {
  return static_cast<uint8_t>(static_cast<unsigned>(state.subscription) | (state.ask ? 0x10U : 0U) |
                              (state.approved ? 0x20U : 0U) | (state.pending_in ? 0x40U : 0U));
}

ContactState Contacts::StateIn(uint8_t flags) {
  return {.subscription = static_cast<Subscription>(flags & 0x0fU),
          .ask = (flags & 0x10U) != 0,
          .approved = (flags & 0x20U) != 0,
          .pending_in = (flags & 0x40U) != 0};
}

Contacts::Entry Contacts::Read(size_t at) const {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(packed_[at + i]); };
  const size_t size = byte(1) | static_cast<size_t>(byte(2)) << 8;
  return {.flags = byte(0),
          .key = std::string_view(packed_).substr(at + kHead, size),
          .size = kHead + size};
}

size_t Contacts::At(std::string_view key) const {
  for (size_t at = 0; at < packed_.size();) {
    const Entry entry = Read(at);
    if (entry.key == key) return at;
    at += entry.size;
  }
  return std::string::npos;
}

void Contacts::Set(const std::vector<RosterItem>& items, std::string_view own_domain) {
  packed_.clear();
  size_ = 0;
  pending_in_ = 0;
  for (const RosterItem& item : items) {
    const std::string key = KeyOf(item.jid, own_domain);
    packed_ += static_cast<char>(Flags(ContactOf(item)));
    packed_ += static_cast<char>(key.size() & 0xffU);
    packed_ += static_cast<char>(key.size() >> 8);
    packed_ += key;
    ++size_;
    if (item.pending_in) ++pending_in_;
  }
  packed_.shrink_to_fit();
}

ContactState Contacts::Find(std::string_view jid, std::string_view own_domain) const {
  const size_t at = At(KeyOf(jid, own_domain));
  return at == std::string::npos ? ContactState() : StateIn(Read(at).flags);
}

void Contacts::Put(std::string_view jid, const ContactState& state, std::string_view own_domain) {
  const std::string key = KeyOf(jid, own_domain);
  const size_t at = At(key);
  if (at != std::string::npos) {
    const Entry entry = Read(at);
    if (StateIn(entry.flags).pending_in) --pending_in_;
    --size_;
    packed_.erase(at, entry.size);
  }
  if (!state.listed() && !state.pending_in) return;
  packed_ += static_cast<char>(Flags(state));
  packed_ += static_cast<char>(key.size() & 0xffU);
  packed_ += static_cast<char>(key.size() >> 8);
  packed_ += key;
  ++size_;
  if (state.pending_in) ++pending_in_;
}

}  // namespace server
