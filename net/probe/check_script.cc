#include "net/probe/check_script.h"

#include "net/base/check.h"

namespace net {
namespace {

class TcpCheck final : public CheckScript {
 public:
  std::string_view OnConnected() override {
    Conclude(CheckOutcome::kPassed, "connected");
    return {};
  }
  void OnData(std::string_view) override {}
  void OnClosed() override { Fail("closed before it was connected"); }
};

}  // namespace

std::string_view CheckTypeName(CheckType type) {
  switch (type) {
    case CheckType::kTcp:
      return "tcp";
    case CheckType::kHttp:
      return "http";
    case CheckType::kXmpp:
      return "xmpp";
  }
  return "unknown";
}

std::unique_ptr<CheckScript> MakeCheckScript(const CheckSpec& spec, std::string_view node_address) {
  switch (spec.type) {
    case CheckType::kTcp:
      return std::make_unique<TcpCheck>();
    case CheckType::kHttp:
      return MakeHttpCheck(spec, node_address);
    case CheckType::kXmpp:
      return MakeXmppCheck(spec);
  }
  CHECK(false);
}

}  // namespace net
