#include "server/config/vm_args_read.h"

namespace server {
namespace {

bool Blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f'; }

// A number with a sign is no flag.
bool Flag(std::string_view word) {
  if (word.size() < 2 || (word[0] != '-' && word[0] != '+')) return false;
  return !(word[1] >= '0' && word[1] <= '9');
}

// "{127,0,0,1}" and '…': the quotes around a whole word go.
std::string Unquoted(std::string word) {
  const bool quoted = word.size() >= 2 && (word.front() == '"' || word.front() == '\'') &&
                      word.back() == word.front();
  return quoted ? word.substr(1, word.size() - 2) : word;
}

}  // namespace

std::vector<ArgWord> SplitArgs(std::string_view text, const std::string* file) {
  std::vector<ArgWord> words;
  int line = 1;
  std::string word;
  bool in_word = false;
  bool escaped_first = false;
  int began = 1;
  const auto finish = [&] {
    if (!in_word) return;
    const bool flag = !escaped_first && Flag(word);
    words.push_back({Unquoted(std::move(word)), file, began, flag});
    word.clear();
    in_word = false;
    escaped_first = false;
  };
  const auto begin = [&] {
    if (!in_word) began = line;
    in_word = true;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\' && text.substr(i + 1).starts_with('\n')) {
      ++i;  // the line goes on
      ++line;
    } else if (c == '\\' && i + 1 < text.size()) {
      if (!in_word) escaped_first = true;
      begin();
      word += text[++i];
    } else if (c == '#') {
      finish();
      while (i + 1 < text.size() && text[i + 1] != '\n') ++i;
    } else if (Blank(c)) {
      finish();
      if (c == '\n') ++line;
    } else {
      begin();
      word += c;
    }
  }
  finish();
  return words;
}

}  // namespace server
