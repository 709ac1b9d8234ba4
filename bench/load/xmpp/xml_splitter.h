// Cuts what a server sends into the stream's opening tag, whole top-level elements and the closing
// tag. No parser: it only counts how deep the tags are, which is all that a generator of load needs
// to find the end of a stanza, and costs a few nanoseconds a byte. It trusts the server to send
// XML; what XMPP forbids (comments, DTDs) is an error, broken XML otherwise shows as kNeedMore.
//
// Pure. The caller keeps the bytes; RFC 6120 sections 4.2, 11.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bench {

enum class XmlKind : std::uint8_t { kNeedMore, kOpen, kElement, kClose, kError };
const char* ToString(XmlKind kind);

struct XmlItem {
  XmlKind kind = XmlKind::kNeedMore;
  std::string_view text;  // of kOpen and kElement; a part of what was given to Next
};

class XmlSplitter {
 public:
  // The next item of `data`, the bytes that have not been used yet. The caller then drops Used()
  // bytes from its front, whatever the kind, and gives the same rest (and more) the next time.
  XmlItem Next(std::string_view data);
  std::size_t Used() const { return used_; }

  // A new document follows: after SASL and after STARTTLS.
  void Reset() { *this = XmlSplitter(); }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  XmlItem Wait(std::size_t scanned, std::size_t unused_from);
  XmlItem Found(XmlKind kind, std::string_view data, std::size_t end);

  std::size_t scanned_ = 0;  // bytes of the rest that have been looked at
  std::size_t start_ = 0;    // where the element under way begins in the rest
  std::size_t used_ = 0;
  std::uint32_t depth_ = 0;  // inside the element under way
  bool in_stream_ = false;
};

}  // namespace bench
