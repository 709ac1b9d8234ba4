// Comma-separated values (RFC 4180). Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace server {

// A line with its end.
void AppendCsv(std::string& out, const std::vector<std::string>& fields);
// All lines that are not empty; a quote that does not end takes what is left.
std::vector<std::vector<std::string>> ReadCsv(std::string_view text);

}  // namespace server
