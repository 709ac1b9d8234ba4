// Answers for people: tables, and the words of errors. Nothing that comes in reaches the terminal
// as a control character.
//
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace net {

struct TextStyle {
  bool colours = false;
  size_t width = 0;  // lines are cut there; 0 = never
};

enum class TextColour : uint8_t { kNone, kGood, kWarn, kBad, kFaint };

// Columns as wide as their widest cell, two spaces apart, without spaces at the ends of lines.
class TextTable {
 public:
  using Colour = TextColour;
  struct Cell {
    std::string text;
    Colour colour = Colour::kNone;
    bool right = false;  // numbers
  };

  explicit TextTable(std::vector<Cell> header) : rows_{std::move(header)} {}
  void Add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  size_t rows() const { return rows_.size() - 1; }
  std::string Text(const TextStyle& style) const;

 private:
  std::vector<std::vector<Cell>> rows_;
};

std::string Painted(std::string text, TextColour colour, const TextStyle& style);

// `text` without control characters, a tab as a space; quotes and backslashes stay.
std::string ForTerminal(std::string_view text);

// "1 node", "3 nodes".
std::string Counted(uint64_t count, std::string_view one, std::string_view many);

// "3d 4h", "5m 10s", "12s".
std::string SpanText(double seconds);

// What goes to stderr for an answer that is not ok: the reason, and each mistake of a configuration
// as FILE:LINE: KEY: what.
std::string CtlErrorText(std::string_view reply_json);
// A line of progress: "41 connections left, about 12s", or the message that it has.
std::string CtlProgressText(std::string_view line_json);

}  // namespace net
