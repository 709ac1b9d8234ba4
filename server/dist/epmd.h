// epmd's protocol: how a node tells its machine's port mapper its name, and asks for another's
// port. Messages built and answers read, without sockets.
//
// https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#epmd-protocol
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/dist/term_writer.h"

namespace server {

// The longest answer to a question of one name; and what of a list of names is read.
inline constexpr size_t kEpmdAnswerMax = 1024;
inline constexpr size_t kEpmdNamesMax = 256U << 10U;

enum class EpmdError : uint8_t {
  kMore,       // the answer is not whole yet
  kMalformed,  // this is no epmd
  kTaken,      // the name is registered by another node
  kUnknown,    // no node of that name
};
std::string_view ToString(EpmdError error);

struct EpmdPort {
  uint16_t port = 0;
  bool hidden = false;
};
struct EpmdName {
  std::string name;
  uint16_t port = 0;
};

// Registers for as long as the connection is open.
void PutEpmdRegister(TermBuffer* out, std::string_view alive, uint16_t port, bool visible);
// The creation that epmd gives.
std::expected<uint32_t, EpmdError> ReadEpmdRegistered(std::span<const uint8_t> answer);

void PutEpmdPortQuestion(TermBuffer* out, std::string_view alive);
std::expected<EpmdPort, EpmdError> ReadEpmdPort(std::span<const uint8_t> answer);

void PutEpmdNamesQuestion(TermBuffer* out);
// Of a whole answer, to the end of the stream.
std::expected<std::vector<EpmdName>, EpmdError> ReadEpmdNames(std::span<const uint8_t> answer);

}  // namespace server
