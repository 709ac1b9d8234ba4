// The words of an argument file with where they stand. For vm_args.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace server {

struct ArgWord {
  std::string text;
  const std::string* file = nullptr;  // of whoever holds the words
  int line = 0;
  bool flag = false;  // began with '-' or '+', unquoted

  std::string At() const { return *file + ":" + std::to_string(line); }
};

// A backslash quotes and takes a line end away, '#' begins a comment. Words may stand between
// double or single quotes, as people write them (the emulator would take the quotes as part of the
// word). `file` must live on.
std::vector<ArgWord> SplitArgs(std::string_view text, const std::string* file);

}  // namespace server
