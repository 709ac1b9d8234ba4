// A stanza as it was read: elements, attributes, text. One buffer for all its bytes and one list
// for all its nodes, so a stanza costs a few allocations however large it is. Not changed
// afterwards: what is sent on is written out with other addresses (AppendTo).
//
// A value. Pure; one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/base/hash.h"
#include "net/xmpp/stream_xml.h"

namespace server {

inline constexpr std::string_view kClientSpace = "jabber:client";
inline constexpr std::string_view kXmlSpace = "http://www.w3.org/XML/1998/namespace";

class Stanza;

// Looks at an element of a stanza, which outlives it. Empty (false) where there is none.
class XmlElement {
 public:
  XmlElement() = default;
  explicit operator bool() const { return stanza_ != nullptr; }

  std::string_view name() const;
  std::string_view space() const;
  bool Is(std::string_view name, std::string_view space) const {
    return *this && this->name() == name && this->space() == space;
  }
  // Of attributes without a namespace.
  std::optional<std::string_view> Find(std::string_view attribute) const;
  std::string_view Attribute(std::string_view attribute) const {
    return Find(attribute).value_or(std::string_view());
  }
  // Of attributes without a namespace, all.
  std::vector<std::pair<std::string_view, std::string_view>> Attributes() const;
  std::string_view lang() const;  // xml:lang of this element itself
  std::string Text() const;       // its own, not its children's

  XmlElement FirstChild() const;  // elements alone
  XmlElement Next() const;
  XmlElement Child(std::string_view name, std::string_view space) const;

  // Writes it, with all below. `context`: the default namespace in force where it will stand.
  void AppendTo(std::string& out, std::string_view context) const;

 private:
  friend class Stanza;
  XmlElement(const Stanza* stanza, uint32_t index) : stanza_(stanza), index_(index) {}
  XmlElement ElementFrom(uint32_t index) const;

  const Stanza* stanza_ = nullptr;
  uint32_t index_ = 0;
};

// Addresses that a stanza is sent on with; nothing leaves what stands there, "" takes it out.
struct StanzaAddress {
  std::optional<std::string_view> from = {};
  std::optional<std::string_view> to = {};
};

class Stanza {
 public:
  Stanza() = default;

  XmlElement root() const { return nodes_.empty() ? XmlElement() : XmlElement(this, 0); }

  // The root with other addresses, and `extra`, written XML, behind its children.
  void AppendTo(std::string& out, std::string_view context, const StanzaAddress& address,
                std::string_view extra = {}) const;

  // Of its text as it was read, near enough: what it is to count for before it is written out.
  size_t size() const { return bytes_.size(); }

  // Equal for stanzas that are written alike; the same on every node.
  uint64_t Fingerprint() const { return net::StableHash(bytes_); }

  // Of the stream: what a root that names none itself is taken to have (RFC 6120 section 8.1.5).
  void SetDefaultLang(std::string_view lang) { default_lang_ = Keep(lang); }

  // --- For readers.
  void Begin(const net::XmlName& name, const net::XmlAttributes& attributes);
  void AddText(std::string_view text);
  void End();
  bool complete() const { return !nodes_.empty() && open_.empty(); }

 private:
  friend class XmlElement;
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Span {
    uint32_t at = 0;
    uint32_t size = 0;
  };
  struct AttributeNode {
    Span space;
    Span name;
    Span value;
  };
  struct Node {
    Span space;
    Span name;  // of text: its bytes
    bool text = false;
    uint32_t attributes = 0;  // the first
    uint32_t attributes_end = 0;
    uint32_t child = kNone;
    uint32_t next = kNone;
  };
  struct Open {
    uint32_t node;
    uint32_t last_child;
  };

  Span Keep(std::string_view text);
  // A namespace is most often its parent's.
  Span KeepSpace(std::string_view space);
  uint32_t Add(Node node);
  std::string_view View(Span span) const {
    return std::string_view(bytes_).substr(span.at, span.size);
  }
  void AppendElement(std::string& out, uint32_t index, std::string_view context,
                     const StanzaAddress* address, std::string_view extra) const;
  void AppendAttributes(std::string& out, const Node& node, const StanzaAddress* address) const;

  std::string bytes_;
  Span default_lang_;
  std::vector<Node> nodes_;
  std::vector<AttributeNode> attributes_;
  std::vector<Open> open_;
};

// Reads one element that stands alone, as stores keep stanzas; nothing where it is not well-formed.
// `context`: the default namespace that it was written with.
std::optional<Stanza> ParseStanza(std::string_view xml, std::string_view context);

}  // namespace server
