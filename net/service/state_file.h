// A file that is replaced as a whole, never written in place: what must outlive the process.
#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>

namespace net {

inline constexpr size_t kStateFileMax = 4U << 20U;

// nullopt when there is none; at most kStateFileMax bytes and one more, by which the reader sees
// that it is too large.
std::optional<std::string> ReadStateFile(const std::string& path);
// Durable when it returns (the file and its name). The error names the call and the path.
std::expected<void, std::string> WriteStateFile(const std::string& path, const std::string& text);

}  // namespace net
