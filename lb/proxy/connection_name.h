// How an operator names one connection: worker, place in the worker, and when it began, so that
// another that got the same place later is never meant. "2-17-19a2b3c4d5e". Pure.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lb {

struct ConnectionName {
  uint32_t worker = 0;  // from 1
  uint32_t index = 0;
  uint64_t started_ms = 0;

  bool operator==(const ConnectionName&) const = default;

  std::string ToString() const {
    char hex[17];
    const auto end = std::to_chars(hex, hex + sizeof hex, started_ms, 16).ptr;
    return std::to_string(worker) + "-" + std::to_string(index) + "-" + std::string(hex, end);
  }

  static std::optional<ConnectionName> Parse(std::string_view text) {
    ConnectionName name;
    const char* const end = text.data() + text.size();
    auto [dash, error] = std::from_chars(text.data(), end, name.worker);
    if (error != std::errc() || dash == end || *dash != '-' || name.worker == 0) return {};
    const auto index = std::from_chars(dash + 1, end, name.index);
    if (index.ec != std::errc() || index.ptr == end || *index.ptr != '-') return {};
    const auto started = std::from_chars(index.ptr + 1, end, name.started_ms, 16);
    if (started.ec != std::errc() || started.ptr != end) return {};
    return name;
  }
};

}  // namespace lb
