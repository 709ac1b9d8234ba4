#include "net/ctl/ctl_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "net/base/text.h"

namespace net {
namespace {

using Json = nlohmann::ordered_json;

Json ParseOrEmpty(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_object() ? json : Json::object();
}

std::string Str(const Json& object, const char* key) {
  if (!object.is_object()) return "";
  auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

std::string_view Escape(TextColour colour) {
  switch (colour) {
    case TextColour::kNone:
      return "";
    case TextColour::kGood:
      return "\x1b[32m";
    case TextColour::kWarn:
      return "\x1b[33m";
    case TextColour::kBad:
      return "\x1b[31m";
    case TextColour::kFaint:
      return "\x1b[2m";
  }
  return "";
}

// Code points: names and reasons are hardly ever of double width.
size_t Width(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

// At most `width` code points of it.
std::string_view Cut(std::string_view text, size_t width) {
  size_t at = 0;
  for (size_t seen = 0; at < text.size(); ++at) {
    const bool begins = (static_cast<unsigned char>(text[at]) & 0xc0U) != 0x80U;
    if (begins && seen++ == width) break;
  }
  return text.substr(0, at);
}

}  // namespace

// "3d 4h", "5m 10s", "12s".
std::string SpanText(double seconds) {
  const auto total = static_cast<uint64_t>(std::clamp(seconds, 0.0, 1e12));
  constexpr std::pair<const char*, uint64_t> kUnits[] = {
      {"d", 86'400}, {"h", 3'600}, {"m", 60}, {"s", 1}};
  uint64_t left = total;
  std::string text;
  int parts = 0;
  for (const auto& [name, size] : kUnits) {
    const uint64_t count = left / size;
    left %= size;
    if (count == 0 || parts == 2) continue;
    text += (text.empty() ? "" : " ") + std::to_string(count) + name;
    ++parts;
  }
  return text.empty() ? "0s" : text;
}

std::string Painted(std::string text, TextColour colour, const TextStyle& style) {
  if (!style.colours || colour == TextColour::kNone) return text;
  return std::string(Escape(colour)) + text + "\x1b[0m";
}

std::string Counted(uint64_t count, std::string_view one, std::string_view many) {
  return std::to_string(count) + " " + std::string(count == 1 ? one : many);
}

std::string ForTerminal(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t plain = std::min(text.find_first_of("\"\\\t"), text.size());
    AppendPrintable(out, text.substr(0, plain), SIZE_MAX);
    text.remove_prefix(plain);
    if (text.empty()) break;
    out += text.front() == '\t' ? ' ' : text.front();  // a tab would break the columns
    text.remove_prefix(1);
  }
  return out;
}

std::string TextTable::Text(const TextStyle& style) const {
  std::vector<size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i].text));
  }
  std::string out;
  for (const auto& row : rows_) {
    size_t last = row.size();
    while (last > 0 && row[last - 1].text.empty()) --last;
    size_t at = 0;  // the column on the screen
    for (size_t i = 0; i < last; ++i) {
      const Cell& cell = row[i];
      const size_t padding = widths[i] - Width(cell.text);
      if (i > 0) out += "  ";
      if (cell.right) out.append(padding, ' ');
      const size_t begin = at + (i > 0 ? 2 : 0) + (cell.right ? padding : 0);
      const size_t room = style.width == 0      ? SIZE_MAX
                          : style.width > begin ? style.width - begin
                                                : 0;
      out += Painted(std::string(Cut(cell.text, room)), cell.colour, style);
      if (!cell.right && i + 1 < last) out.append(padding, ' ');
      at = begin + Width(cell.text) + (cell.right ? 0 : padding);
    }
    out += '\n';
  }
  return out;
}

std::string CtlErrorText(std::string_view reply_json) {
  const Json reply = ParseOrEmpty(reply_json);
  std::string text;
  if (auto errors = reply.find("errors"); errors != reply.end() && errors->is_array()) {
    for (const Json& error : *errors) text += ForTerminal(Str(error, "text")) + "\n";
  }
  const std::string error = Str(reply, "error");
  return text + (error.empty() ? "refused without a reason" : ForTerminal(error)) + "\n";
}

std::string CtlProgressText(std::string_view line_json) {
  const Json line = ParseOrEmpty(line_json);
  if (const std::string message = Str(line, "message"); !message.empty()) {
    return ForTerminal(message) + "\n";
  }
  auto left = line.find("remaining");
  const double count = left != line.end() && left->is_number() ? left->get<double>() : 0;
  std::string text = Counted(static_cast<uint64_t>(count), "connection", "connections") + " left";
  auto eta = line.find("eta_s");
  if (eta != line.end() && eta->is_number()) text += ", about " + SpanText(eta->get<double>());
  return text + "\n";
}

}  // namespace net
