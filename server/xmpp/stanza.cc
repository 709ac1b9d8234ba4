#include "server/xmpp/stanza.h"

#include <utility>

#include "net/base/check.h"
#include "server/xmpp/xml_text.h"

namespace server {

std::string_view XmlElement::name() const { return stanza_->View(stanza_->nodes_[index_].name); }
std::string_view XmlElement::space() const { return stanza_->View(stanza_->nodes_[index_].space); }

std::optional<std::string_view> XmlElement::Find(std::string_view attribute) const {
  const Stanza::Node& node = stanza_->nodes_[index_];
  for (uint32_t i = node.attributes; i < node.attributes_end; ++i) {
    const Stanza::AttributeNode& one = stanza_->attributes_[i];
    if (one.space.size == 0 && stanza_->View(one.name) == attribute) {
      return stanza_->View(one.value);
    }
  }
  return std::nullopt;
}

std::vector<std::pair<std::string_view, std::string_view>> XmlElement::Attributes() const {
  std::vector<std::pair<std::string_view, std::string_view>> attributes;
  const Stanza::Node& node = stanza_->nodes_[index_];
  for (uint32_t i = node.attributes; i < node.attributes_end; ++i) {
    const Stanza::AttributeNode& one = stanza_->attributes_[i];
    if (one.space.size == 0) {
      attributes.emplace_back(stanza_->View(one.name), stanza_->View(one.value));
    }
  }
  return attributes;
}

std::string_view XmlElement::lang() const {
  const Stanza::Node& node = stanza_->nodes_[index_];
  for (uint32_t i = node.attributes; i < node.attributes_end; ++i) {
    const Stanza::AttributeNode& one = stanza_->attributes_[i];
    if (stanza_->View(one.space) == kXmlSpace && stanza_->View(one.name) == "lang") {
      return stanza_->View(one.value);
    }
  }
  return index_ == 0 ? stanza_->View(stanza_->default_lang_) : std::string_view();
}

std::string XmlElement::Text() const {
  std::string text;
  for (uint32_t i = stanza_->nodes_[index_].child; i != Stanza::kNone;
       i = stanza_->nodes_[i].next) {
    if (stanza_->nodes_[i].text) text += stanza_->View(stanza_->nodes_[i].name);
  }
  return text;
}

XmlElement XmlElement::ElementFrom(uint32_t index) const {
  while (index != Stanza::kNone && stanza_->nodes_[index].text) {
    index = stanza_->nodes_[index].next;
  }
  return index == Stanza::kNone ? XmlElement() : XmlElement(stanza_, index);
}

XmlElement XmlElement::FirstChild() const { return ElementFrom(stanza_->nodes_[index_].child); }
XmlElement XmlElement::Next() const { return ElementFrom(stanza_->nodes_[index_].next); }

XmlElement XmlElement::Child(std::string_view name, std::string_view space) const {
  for (XmlElement child = FirstChild(); child; child = child.Next()) {
    if (child.Is(name, space)) return child;
  }
  return {};
}

void XmlElement::AppendTo(std::string& out, std::string_view context) const {
  stanza_->AppendElement(out, index_, context, nullptr, {});
}

void Stanza::AppendTo(std::string& out, std::string_view context, const StanzaAddress& address,
                      std::string_view extra) const {
  AppendElement(out, 0, context, &address, extra);
}

Stanza::Span Stanza::Keep(std::string_view text) {
  const Span span{static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(text.size())};
  bytes_ += text;
  return span;
}

Stanza::Span Stanza::KeepSpace(std::string_view space) {
  if (!open_.empty()) {
    const Span parent = nodes_[open_.back().node].space;
    if (View(parent) == space) return parent;
  }
  return Keep(space);
}

uint32_t Stanza::Add(Node node) {
  const auto index = static_cast<uint32_t>(nodes_.size());
  if (!open_.empty()) {
    Open& parent = open_.back();
    (parent.last_child == kNone ? nodes_[parent.node].child : nodes_[parent.last_child].next) =
        index;
    parent.last_child = index;
  }
  nodes_.push_back(node);
  return index;
}

void Stanza::Begin(const net::XmlName& name, const net::XmlAttributes& attributes) {
  CHECK(!complete());
  Node node{.space = KeepSpace(name.space), .name = Keep(name.local)};
  node.attributes = static_cast<uint32_t>(attributes_.size());
  for (const auto& [attribute, value] : attributes) {
    attributes_.push_back({Keep(attribute.space), Keep(attribute.local), Keep(value)});
  }
  node.attributes_end = static_cast<uint32_t>(attributes_.size());
  const uint32_t index = Add(node);
  open_.push_back({index, kNone});
}

void Stanza::AddText(std::string_view text) {
  CHECK(!open_.empty());
  // A parser hands text out in pieces.
  const uint32_t last = open_.back().last_child;
  if (last != kNone && last + 1 == nodes_.size() && nodes_[last].text &&
      nodes_[last].name.at + nodes_[last].name.size == bytes_.size()) {
    nodes_[last].name.size += static_cast<uint32_t>(text.size());
    bytes_ += text;
    return;
  }
  Add({.name = Keep(text), .text = true});
}

void Stanza::End() {
  CHECK(!open_.empty());
  open_.pop_back();
}

void Stanza::AppendAttributes(std::string& out, const Node& node,
                              const StanzaAddress* address) const {
  uint32_t prefixes = 0;
  bool has_lang = false;
  for (uint32_t i = node.attributes; i < node.attributes_end; ++i) {
    const AttributeNode& one = attributes_[i];
    const std::string_view name = View(one.name);
    if (one.space.size == 0) {
      const bool other = address != nullptr &&
                         ((name == "from" && address->from) || (name == "to" && address->to));
      if (!other) AppendXmlAttribute(out, name, View(one.value));
    } else if (View(one.space) == kXmlSpace) {
      has_lang = has_lang || name == "lang";
      AppendXmlAttribute(out, "xml:" + std::string(name), View(one.value));
    } else {
      const std::string prefix = "n" + std::to_string(prefixes++);
      AppendXmlAttribute(out, "xmlns:" + prefix, View(one.space));
      AppendXmlAttribute(out, prefix + ":" + std::string(name), View(one.value));
    }
  }
  if (!has_lang && default_lang_.size > 0 && &node == nodes_.data()) {
    AppendXmlAttribute(out, "xml:lang", View(default_lang_));
  }
  if (address == nullptr) return;
  if (address->from && !address->from->empty()) AppendXmlAttribute(out, "from", *address->from);
  if (address->to && !address->to->empty()) AppendXmlAttribute(out, "to", *address->to);
}

// The depth is the reader's bound.
void Stanza::AppendElement(std::string& out, uint32_t index, std::string_view context,
                           const StanzaAddress* address, std::string_view extra) const {
  const Node& node = nodes_[index];
  const std::string_view space = View(node.space);
  out += '<';
  out += View(node.name);
  if (space != context) AppendXmlAttribute(out, "xmlns", space);
  AppendAttributes(out, node, address);
  if (node.child == kNone && extra.empty()) {
    out += "/>";
    return;
  }
  out += '>';
  for (uint32_t i = node.child; i != kNone; i = nodes_[i].next) {
    if (nodes_[i].text) {
      AppendXmlContent(out, View(nodes_[i].name));
    } else {
      AppendElement(out, i, space, nullptr, {});
    }
  }
  out += extra;
  out += "</";
  out += View(node.name);
  out += '>';
}

}  // namespace server
