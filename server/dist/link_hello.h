// What our own nodes tell each other first on a link: which versions of our messages they speak,
// and which features beyond. A peer that does not fit is refused in words, on both sides.
//
// That a peer is one of ours shows already in the handshake, by bytes behind its name that Erlang
// ignores (kLinkMark); its hello is then awaited before anything else. Pure.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "server/dist/dist_options.h"
#include "server/dist/term.h"

namespace server {

inline constexpr std::string_view kLinkMailbox = "mongoose_link";
inline constexpr std::string_view kLinkMark = "mongoose";

struct LinkHello {
  uint32_t wire = kWireVersion;
  uint32_t wire_oldest = kWireVersionOldest;
  uint64_t features = 0;
  std::string version;  // of the program, for people
  // Bytes that a text from a peer may have.
  static constexpr size_t kVersionMax = 64;
};

Term LinkHelloTerm(const LinkHello& hello);
Term LinkRefusalTerm(std::string_view why);

// nullopt: neither a hello nor a refusal.
std::optional<LinkHello> ReadLinkHello(const TermView& term);
std::optional<std::string> ReadLinkRefusal(const TermView& term);

// The features that both have, or why the two cannot speak.
std::expected<uint64_t, std::string> JudgeHello(const LinkHello& ours, const LinkHello& theirs);

}  // namespace server
