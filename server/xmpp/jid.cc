#include "server/xmpp/jid.h"

#include <stringprep.h>

#include <algorithm>
#include <array>
#include <utility>

namespace server {
namespace {

bool IsAscii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}
bool IsPrintableAscii(char c) { return c > 0x20 && c < 0x7f; }
char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string LowerOf(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), Lower);
  return lower;
}

// libidn takes C strings: a NUL would end the check before the text ends.
std::optional<std::string> Profile(std::string_view text, const Stringprep_profile* profile) {
  constexpr size_t kRoom = 4 * (Jid::kPartBytesMax + 1);  // folding may lengthen what is cut later
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  std::array<char, kRoom> prepared{};
  std::ranges::copy(text, prepared.begin());
  if (stringprep(prepared.data(), prepared.size(), STRINGPREP_NO_UNASSIGNED, profile) !=
      STRINGPREP_OK) {
    return std::nullopt;
  }
  std::string result(prepared.data());
  if (result.empty() || result.size() > Jid::kPartBytesMax) return std::nullopt;
  return result;
}

bool FitsPart(std::string_view text) { return !text.empty() && text.size() <= Jid::kPartBytesMax; }

// A label as DNS has it, or one beyond ASCII, whose rules Nameprep has judged.
bool IsLabel(std::string_view label) {
  return !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
         std::ranges::all_of(label, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  static_cast<unsigned char>(c) >= 0x80;
         });
}

bool IsDomain(std::string_view domain) {
  if (domain.size() > 2 && domain.front() == '[' && domain.back() == ']') {  // IPv6
    return std::ranges::all_of(domain.substr(1, domain.size() - 2), [](char c) {
      return (c >= 'a' && c <= 'f') || (c >= '0' && c <= '9') || c == ':' || c == '.';
    });
  }
  for (;;) {
    const size_t dot = domain.find('.');
    if (!IsLabel(domain.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    domain.remove_prefix(dot + 1);
  }
}

}  // namespace

std::optional<std::string> PrepareLocal(std::string_view text) {
  if (!FitsPart(text)) return std::nullopt;
  if (!IsAscii(text)) return Profile(text, stringprep_xmpp_nodeprep);
  // RFC 3920 appendix A.5: beside what Nodeprep forbids in all.
  static constexpr std::string_view kForbidden = "\"&'/:<>@";
  const bool good = std::ranges::all_of(text, [](char c) {
    return IsPrintableAscii(c) && kForbidden.find(c) == std::string_view::npos;
  });
  return good ? std::optional(LowerOf(text)) : std::nullopt;
}

std::optional<std::string> PrepareDomain(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);  // RFC 6122 section 2.2
  if (!FitsPart(text)) return std::nullopt;
  auto domain = IsAscii(text) ? LowerOf(text) : Profile(text, stringprep_nameprep);
  return domain && IsDomain(*domain) ? std::move(domain) : std::nullopt;
}

std::optional<std::string> PrepareResource(std::string_view text) {
  if (!FitsPart(text)) return std::nullopt;
  if (!IsAscii(text)) return Profile(text, stringprep_xmpp_resourceprep);
  const bool good =
      std::ranges::all_of(text, [](char c) { return c == ' ' || IsPrintableAscii(c); });
  return good ? std::optional<std::string>(text) : std::nullopt;
}

std::optional<std::string> PreparePassword(std::string_view text) {
  if (!FitsPart(text)) return std::nullopt;
  if (!IsAscii(text)) return Profile(text, stringprep_saslprep);
  const bool good =
      std::ranges::all_of(text, [](char c) { return c == ' ' || IsPrintableAscii(c); });
  return good ? std::optional<std::string>(text) : std::nullopt;
}

std::optional<Jid> Jid::Parse(std::string_view text) {
  // The resource begins at the first slash, whatever stands in it; only then the localpart is
  // looked for (RFC 7622 section 3.1).
  const size_t slash = text.find('/');
  std::string_view resource;
  if (slash != std::string_view::npos) {
    resource = text.substr(slash + 1);
    if (resource.empty()) return std::nullopt;
    text = text.substr(0, slash);
  }
  std::string_view local;
  if (const size_t at = text.find('@'); at != std::string_view::npos) {
    local = text.substr(0, at);
    if (local.empty()) return std::nullopt;
    text.remove_prefix(at + 1);
  }
  return Make(local, text, resource);
}

std::optional<Jid> Jid::Make(std::string_view local, std::string_view domain,
                             std::string_view resource) {
  Jid jid;
  if (!local.empty()) {
    auto prepared = PrepareLocal(local);
    if (!prepared) return std::nullopt;
    jid.text_ = std::move(*prepared);
    jid.at_ = static_cast<uint16_t>(jid.text_.size());
    jid.text_ += '@';
  }
  const auto prepared = PrepareDomain(domain);
  if (!prepared) return std::nullopt;
  jid.text_ += *prepared;
  return resource.empty() ? std::optional(std::move(jid)) : jid.With(resource);
}

Jid Jid::OfPrepared(std::string text) {
  Jid jid;
  jid.text_ = std::move(text);
  const size_t slash = jid.text_.find('/');
  const size_t at = std::string_view(jid.text_).substr(0, slash).find('@');
  if (slash != std::string::npos) jid.slash_ = static_cast<uint16_t>(slash);
  if (at != std::string::npos) jid.at_ = static_cast<uint16_t>(at);
  return jid;
}

Jid Jid::Bare() const {
  Jid jid;
  jid.text_ = bare();
  jid.at_ = at_;
  return jid;
}

std::optional<Jid> Jid::With(std::string_view resource) const {
  const auto prepared = PrepareResource(resource);
  if (!prepared) return std::nullopt;
  Jid jid = Bare();
  jid.slash_ = static_cast<uint16_t>(jid.text_.size());
  jid.text_ += '/';
  jid.text_ += *prepared;
  return jid;
}

}  // namespace server
