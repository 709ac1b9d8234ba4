#include "bench/load/xmpp/xml_splitter.h"

namespace bench {
namespace {

constexpr std::size_t kNotYet = std::string_view::npos;

// The position behind the '>' that ends the tag at `at`, quoted ones skipped.
std::size_t TagEnd(std::string_view data, std::size_t at) {
  char quote = 0;
  for (std::size_t i = at + 1; i < data.size(); ++i) {
    const char c = data[i];
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '>') {
      return i + 1;
    } else if (c == '\'' || c == '"') {
      quote = c;
    }
  }
  return kNotYet;
}

std::size_t Behind(std::string_view data, std::string_view mark, std::size_t from) {
  const std::size_t at = data.find(mark, from);
  return at == kNotYet ? kNotYet : at + mark.size();
}

}  // namespace

const char* ToString(XmlKind kind) {
  switch (kind) {
    case XmlKind::kNeedMore:
      return "need more";
    case XmlKind::kOpen:
      return "open";
    case XmlKind::kElement:
      return "element";
    case XmlKind::kClose:
      return "close";
    case XmlKind::kError:
      return "error";
  }
  return "?";
}

XmlItem XmlSplitter::Wait(std::size_t scanned, std::size_t unused_from) {
  used_ = unused_from;
  scanned_ = scanned - unused_from;
  return {};
}

XmlItem XmlSplitter::Found(XmlKind kind, std::string_view data, std::size_t end) {
  const std::string_view text = data.substr(start_, end - start_);
  used_ = end;
  scanned_ = 0;
  start_ = 0;
  return {kind, text};
}

XmlItem XmlSplitter::Next(std::string_view data) {
  std::size_t pos = scanned_;
  while (true) {
    const std::size_t at = data.find('<', pos);
    // Between elements there is nothing but white space, which is not kept.
    if (at == kNotYet) return Wait(data.size(), depth_ == 0 ? data.size() : 0);
    const std::size_t keep_from = depth_ == 0 ? at : 0;
    if (at + 1 >= data.size()) return Wait(at, keep_from);
    const char next = data[at + 1];
    if (next == '?' || next == '!') {
      if (next == '!' && data.size() - at < 9) return Wait(at, keep_from);
      if (next == '!' && data.substr(at, 9) != "<![CDATA[") return Found(XmlKind::kError, data, at);
      const std::size_t end = Behind(data, next == '?' ? "?>" : "]]>", at);
      if (end == kNotYet) return Wait(at, keep_from);
      pos = end;
      continue;
    }
    const std::size_t end = TagEnd(data, at);
    if (end == kNotYet) return Wait(at, keep_from);
    if (depth_ == 0) start_ = at;
    pos = end;
    if (next == '/') {
      if (depth_ == 0) return Found(in_stream_ ? XmlKind::kClose : XmlKind::kError, data, end);
      if (--depth_ == 0) return Found(XmlKind::kElement, data, end);
    } else if (!in_stream_) {
      in_stream_ = true;
      return Found(XmlKind::kOpen, data, end);
    } else if (data[end - 2] == '/') {
      if (depth_ == 0) return Found(XmlKind::kElement, data, end);
    } else {
      ++depth_;
    }
  }
}

}  // namespace bench
