// A JID (RFC 6122): localpart@domain/resource, prepared so that equal addresses are equal bytes:
// Nodeprep, Nameprep, Resourceprep (RFC 3920 appendices A and B; RFC 7622's PRECIS profiles have no
// library in Debian 12, and what the two admit differs in corners alone).
//
// A value, immutable. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace server {

class Jid {
 public:
  static constexpr size_t kPartBytesMax = 1023;  // RFC 6122 section 2.1, each of the three

  // Nothing where a part is empty, too long, not UTF-8, or not allowed by its profile.
  static std::optional<Jid> Parse(std::string_view text);
  // `local` and `resource` may be empty: then there is none.
  static std::optional<Jid> Make(std::string_view local, std::string_view domain,
                                 std::string_view resource = {});
  // Of text that full() or bare() gave, kept by us since: it is not prepared again.
  static Jid OfPrepared(std::string text);

  std::string_view local() const {
    return at_ == kNone ? std::string_view() : View().substr(0, at_);
  }
  std::string_view domain() const { return View().substr(DomainAt(), DomainEnd() - DomainAt()); }
  std::string_view resource() const {
    return slash_ == kNone ? std::string_view() : View().substr(slash_ + 1U);
  }
  // localpart@domain, or the domain alone.
  std::string_view bare() const { return View().substr(0, DomainEnd()); }
  const std::string& full() const { return text_; }

  bool is_bare() const { return slash_ == kNone; }
  bool is_domain() const { return at_ == kNone && slash_ == kNone; }
  Jid Bare() const;
  // Nothing where `resource` is not allowed.
  std::optional<Jid> With(std::string_view resource) const;

  friend bool operator==(const Jid& a, const Jid& b) { return a.text_ == b.text_; }
  friend auto operator<=>(const Jid& a, const Jid& b) { return a.text_ <=> b.text_; }

 private:
  static constexpr uint16_t kNone = UINT16_MAX;
  Jid() = default;

  std::string_view View() const { return text_; }
  size_t DomainAt() const { return at_ == kNone ? 0 : at_ + 1U; }
  size_t DomainEnd() const { return slash_ == kNone ? text_.size() : slash_; }

  std::string text_;
  uint16_t at_ = kNone;
  uint16_t slash_ = kNone;
};

// The profiles alone; nothing where `text` is empty or not allowed.
std::optional<std::string> PrepareLocal(std::string_view text);
std::optional<std::string> PrepareDomain(std::string_view text);
std::optional<std::string> PrepareResource(std::string_view text);
// SASLprep (RFC 4013) of names and passwords, as stored strings have it (no unassigned characters).
std::optional<std::string> PreparePassword(std::string_view text);

}  // namespace server
