// Whatever a node of the cluster sends: no crash, bounded memory, and what is taken is written back
// byte for byte; a node that gets it goes on.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "net/base/check.h"
#include "server/cluster/cluster.h"

namespace {

class NoStorage final : public server::Storage {
 public:
  std::expected<std::optional<std::string>, std::string> Load() override { return std::nullopt; }
  std::expected<void, std::string> Save(std::string_view) override { return {}; }
  std::string Name() const override { return "none"; }
};

class NoTransport final : public server::Transport {
 public:
  bool Send(const std::string&, std::span<const uint8_t>) override { return true; }
  void Want(const std::string&, bool) override {}
};

// A node that has greeted one peer of its own cluster.
std::unique_ptr<server::Cluster> Node(NoTransport& transport, NoStorage& storage, net::Time now) {
  auto node = server::Cluster::Open({.node = "a@h", .tables = {{.id = 1, .name = "session",
                                                                .unique = true}}},
                                    transport, storage, now, 1'000'000)
                  .value();
  node->OnNodeUp("b@h", now);
  server::MemberView view = node->view();
  view.Set("b@h", server::MemberState::kJoined, 1);
  const server::Hello hello{.view = view};
  node->OnFrame("b@h", server::EncodeFrame({.from_incarnation = 7}, hello), now);
  return node;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, size);
  if (const auto frame = server::DecodeFrame(bytes)) {
    if (frame->header.version == server::kFrameVersion) {
      const auto again = server::EncodeFrame(frame->header, frame->body);
      const auto twice = server::DecodeFrame(again);
      CHECK(twice.has_value());
      CHECK(server::EncodeFrame(twice->header, twice->body) == again);
    }
  }
  NoTransport transport;
  NoStorage storage;
  net::Time now{std::chrono::seconds(1000)};
  const auto node = Node(transport, storage, now);
  // As from the life that was greeted, to the one that lives.
  std::vector<uint8_t> meant(bytes.begin(), bytes.end());
  if (meant.size() >= server::kFrameHeaderBytes) {
    server::SetReceiver(meant, node->incarnation());
    for (size_t i = 2; i < 10; ++i) meant[i] = i == 9 ? 7 : 0;
  }
  for (int i = 0; i < 3; ++i) {
    node->OnFrame("b@h", meant, now);
    now += std::chrono::seconds(1);
    node->Tick(now, 1'000'000);
    node->TakeEvents();
  }
  CHECK(node->view().Joined("a@h"));
  return 0;
}
