// Messages of a peer that has the cookie. Each is two bytes of length and a frame's body; the first
// byte of all says whether the peer is one of ours.
#include <cstdint>
#include <span>
#include <vector>

#include "net/base/byte_reader.h"
#include "net/base/check.h"
#include "server/dist/services.h"

namespace {

class Sink final : public server::PeerSession::Sink {
 public:
  void Put(std::span<const uint8_t> frame) override {
    // What we say must be what we would understand.
    net::ByteReader in(frame);
    std::span<const uint8_t> body = in.Vector(server::kFrameLengthBytes);
    CHECK(in.done());
    auto read = server::ReadControlFrame(body);
    CHECK(read.has_value());
    if (!read->payload.empty()) {
      // Answers wrap what came, so they may be deeper than what is taken.
      CHECK(server::TermView::Decode(read->payload, {.depth = server::kTermDepthMax}).has_value());
    }
  }
};

class Replies final : public server::RpcReply::Sink {
 public:
  void Answer(uint64_t call, server::RpcResult result) override {
    if (services != nullptr) services->Finish(call, std::move(result));
  }
  server::Services* services = nullptr;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  Sink sink;
  auto replies = std::make_shared<Replies>();
  server::Services services(
      {.on_link_message = [](server::PeerSession&, const server::TermView&) {},
       .count = [](server::ServiceEvent) {},
       .reply_sink = replies},
      {.rpc_max = 8, .calls_max = 8});
  replies->services = &services;
  services.SetSelf({.node = "us@h", .creation = 1});
  services.SetMailbox("box", [](const server::DistMessage& message) {
    static_cast<void>(message.term.ToText(64));
  });
  services.SetRpc("m", "f", [](const server::RpcCall& call, server::RpcReply reply) {
    if (call.args.empty()) return;
    reply.Return(server::Term(call.args[0]));
  });
  server::PeerSession session;
  session.id = 1;
  session.sink = &sink;
  session.peer.node = "them@h";
  session.peer.ours = (data[0] & 1) != 0;
  server::CallDone done = [](server::RpcResult) {};
  CHECK(services.Call(session, "m", "f", {}, net::Time(), &done));
  net::ByteReader in(std::span(data + 1, size - 1));
  while (!in.empty()) {
    std::span<const uint8_t> body = in.Vector(2);
    if (!in.ok() || !services.OnFrame(session, body)) break;
    CHECK(services.rpcs() <= 9);
  }
  services.OnLost(session);
  CHECK(services.rpcs() == 0 && services.calls() == 0);
  replies->services = nullptr;
  return 0;
}
