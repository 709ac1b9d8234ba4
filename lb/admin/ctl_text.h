// The answers of the control socket, for people: tables made from the JSON that `--json` shows.
// Nothing that comes in reaches the terminal as a control character.
//
// Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lb {

struct TextStyle {
  bool colours = false;
  size_t width = 0;  // lines are cut there; 0 = never
};

// Columns as wide as their widest cell, two spaces apart, without spaces at the ends of lines.
class TextTable {
 public:
  enum class Colour : uint8_t { kNone, kGood, kWarn, kBad, kFaint };
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

// What `mongooselb ctl COMMAND` prints for the last line of an answer that is ok.
std::string CtlAnswerText(std::string_view command, std::string_view reply_json,
                          const TextStyle& style);
// What goes to stderr for one that is not: the reason, and each mistake of a configuration as
// FILE:LINE: KEY: what.
std::string CtlErrorText(std::string_view reply_json);
// A line of progress: "41 connections left, about 12s".
std::string CtlProgressText(std::string_view line_json);

// One frame of `top`, from an answer to `list`.
std::string CtlTopFrame(std::string_view reply_json, const TextStyle& style);

// `text` without control characters; quotes and backslashes stay.
std::string ForTerminal(std::string_view text);

}  // namespace lb
