// A peer's side of the distribution's handshake. The first byte chooses the side and what the node
// thinks of the peer; the second how the bytes are cut.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "net/base/check.h"
#include "server/dist/flags.h"
#include "server/dist/handshake.h"
#include "server/dist/node_name.h"

namespace {

using server::Handshake;

struct Outcome {
  Handshake::State state;
  server::HandshakeError error;
  server::TermBuffer said;
  bool operator==(const Outcome&) const = default;
};

Outcome Run(uint8_t choice, std::span<const uint8_t> input, size_t piece) {
  const auto admission = static_cast<server::Admission>((choice >> 1) % 5);
  Handshake::Self self{.node = "us@h",
                       .cookie = "C",
                       .creation = 1,
                       .flags = server::kDistFlagsOurs,
                       .challenge = 42,
                       .mark = "mongoose",
                       .length_bytes = (choice & 0x20) != 0 ? size_t{4} : size_t{2}};
  if ((choice & 0x40) != 0) self.flags |= server::dist_flag::kNameMe;
  Handshake handshake =
      (choice & 1) != 0
          ? Handshake::Dial(self, "a@h")
          : Handshake::Accept(
                self,
                [&](const server::HandshakePeer& peer) {
                  CHECK(server::IsNodeName(peer.node));
                  return admission;
                },
                [](std::string_view host) {
                  return server::HandshakePeer{.node = "X@" + std::string(host), .creation = 9};
                });
  Outcome outcome;
  if ((choice & 1) != 0) handshake.Start(&outcome.said);
  std::vector<uint8_t> held;
  while (!input.empty() && handshake.state() == Handshake::State::kGoing) {
    const size_t size = std::min(piece, input.size());
    held.insert(held.end(), input.begin(), input.begin() + static_cast<long>(size));
    input = input.subspan(size);
    const size_t taken = handshake.Feed(held, &outcome.said);
    CHECK(taken <= held.size());
    held.erase(held.begin(), held.begin() + static_cast<long>(taken));
  }
  outcome.state = handshake.state();
  outcome.error = handshake.error();
  CHECK((outcome.state == Handshake::State::kFailed) ==
        (outcome.error != server::HandshakeError::kNone));
  if (outcome.state == Handshake::State::kDone) CHECK(server::IsNodeName(handshake.peer().node));
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  std::span<const uint8_t> input(data + 2, size - 2);
  // However the bytes are cut, the same comes of them.
  CHECK(Run(data[0], input, 1 + data[1] % 7) == Run(data[0], input, input.size() + 1));
  return 0;
}
