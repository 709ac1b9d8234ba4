// The answers of nodes to active checks (xmpp, and http with a JSON expectation): whole or in
// pieces they get the same verdict, and everything is bounded.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/check.h"
#include "net/base/text.h"
#include "net/probe/check_script.h"

namespace {

net::CheckSpec SpecOf(bool xmpp) {
  net::CheckSpec spec;
  spec.type = xmpp ? net::CheckType::kXmpp : net::CheckType::kHttp;
  spec.to = "im.example";
  spec.expect_json = "data.server.status.statusCode";
  spec.expect_value = "RUNNING";
  return spec;
}

// What a peer said may be told in its own letters, but no control character, no mark that turns the
// direction of writing and nothing that is no UTF-8 may reach a terminal. Making it printable once
// more then changes nothing but the backslashes.
bool IsPrintable(std::string_view text) {
  std::string before(text);
  std::string after = net::Printable(text, before.size() + 1);
  std::erase(before, '\\');
  std::erase(after, '\\');
  return before == after;
}

}  // namespace

// The first byte chooses the check and the size of the pieces.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const net::CheckSpec kXmpp = SpecOf(true);
  static const net::CheckSpec kHttp = SpecOf(false);
  const net::CheckSpec& spec = (data[0] & 1) != 0 ? kXmpp : kHttp;
  size_t piece = 1 + (data[0] >> 1);
  std::string_view peer(reinterpret_cast<const char*>(data + 1), size - 1);

  auto whole = net::MakeCheckScript(spec, "192.0.2.1:1");
  whole->OnConnected();
  whole->OnData(peer);
  auto pieces = net::MakeCheckScript(spec, "192.0.2.1:1");
  pieces->OnConnected();
  for (size_t at = 0; at < peer.size(); at += piece) {
    std::vector<char> copy(
        peer.begin() + static_cast<ptrdiff_t>(at),
        peer.begin() + static_cast<ptrdiff_t>(std::min(at + piece, peer.size())));
    pieces->OnData({copy.data(), copy.size()});
  }
  // The end, not the moment: what is broken may be found out earlier in one piece than in many.
  whole->OnClosed();
  pieces->OnClosed();
  CHECK(whole->outcome() == pieces->outcome());
  CHECK(whole->outcome() != net::CheckOutcome::kPending);
  CHECK(!whole->why().empty() && whole->why().size() < 1'024);
  CHECK(IsPrintable(whole->why()));
  return 0;
}
