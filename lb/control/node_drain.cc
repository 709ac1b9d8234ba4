#include "lb/control/node_drain.h"

#include <array>
#include <charconv>
#include <utility>

#include "lb/control/node_checks.h"
#include "net/probe/json_path.h"

namespace lb {
namespace {

constexpr size_t kAnswerMax = size_t{16} * 1024;
// It looks at all of its sessions before it answers.
constexpr net::Duration kAnswerWithin = std::chrono::seconds(5);

// The fewest digits that say it.
std::string Number(double value) {
  std::array<char, 400> text{};
  char* const end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed).ptr;
  return {text.data(), end};
}

}  // namespace

std::string NodeDrainTarget(const std::string& path, double rate, net::Duration deadline,
                            bool force) {
  std::string target = path;
  const auto add = [&target](std::string_view key, const std::string& value) {
    target += target.find('?') == std::string::npos ? '?' : '&';
    target.append(key) += '=' + value;
  };
  if (rate > 0) add("rate", Number(rate));
  if (deadline > net::Duration::zero()) add("deadline", Number(net::Seconds(deadline)));
  if (force) add("force", "true");
  return target;
}

std::expected<NodeDrainAnswer, std::string> ReadNodeDrainAnswer(const std::string& body) {
  const auto draining = net::JsonValueAt(body, "draining");
  if (!draining) return std::unexpected("its answer is not understood: " + draining.error());
  if (*draining != "true") return std::unexpected("it answered that it does not drain");
  const auto said = net::JsonValueAt(body, "connections");
  if (!said) return std::unexpected("its answer is not understood: " + said.error());
  NodeDrainAnswer answer;
  const auto [end, error] =
      std::from_chars(said->data(), said->data() + said->size(), answer.connections);
  if (error != std::errc() || end != said->data() + said->size()) {
    return std::unexpected("its answer is not understood: 'connections' is no count");
  }
  const auto revocable = net::JsonValueAt(body, "revocable");
  answer.revocable = revocable && *revocable == "true";
  return answer;
}

std::expected<void, std::string> ReadNodeBackAnswer(const std::string& body) {
  const auto draining = net::JsonValueAt(body, "draining");
  if (!draining) return std::unexpected("its answer is not understood: " + draining.error());
  if (*draining != "false") return std::unexpected("it answered that it drains on");
  return {};
}

std::expected<std::string, std::string> NodeAnswerText(
    const DrainOrder& order, const std::expected<NodeDrainAnswer, std::string>& answer) {
  const bool deadline = order.deadline > net::Duration::zero();
  std::string asked = "the node was asked to drain";
  if (order.rate > 0) asked += " at " + Number(order.rate) + "/s";
  if (deadline) asked += " within " + Number(net::Seconds(NodesPart(order.deadline))) + "s";
  if (!answer) {
    return std::unexpected(asked + ", in vain: " + answer.error() +
                           "; its connections are ended from here, at the pace of the order");
  }
  return asked + " and answered that it does, with " + std::to_string(answer->connections) +
         (answer->connections == 1 ? " connection" : " connections") + " in all; " +
         (deadline ? "who is left after that is ended from here, until the deadline"
                   : "none is ended from here");
}

NodeDrain::NodeDrain(net::EventLoop& loop, const net::SocketName& address,
                     const StatusConfig& status, std::string method, std::string target,
                     Done done) {
  const net::SocketName at = OnPort(address, status.port);
  net::HttpClientRequest request{.method = std::move(method),
                                 .target = std::move(target),
                                 .host = net::AddressText(at.get(), at.size()),
                                 .headers = {{"Content-Length", "0"}}};
  if (!status.user.empty()) {
    request.headers.push_back(
        {"Authorization", net::BasicAuthorization(status.user, status.password)});
  }
  fetch_ = std::make_unique<net::HttpFetch>(
      loop, at, request, kAnswerWithin, kAnswerMax,
      [this, &loop, done = std::move(done)](std::expected<std::string, std::string> body) mutable {
        // It may not destroy itself from inside its own report.
        auto keep = std::shared_ptr<net::HttpFetch>(std::move(fetch_));
        loop.Post([keep] {});
        auto tell = std::move(done);
        if (body) return tell(*std::move(body));
        tell(std::unexpected(
            NodeSilence{.why = std::move(body.error()), .maybe_done = keep->maybe_done()}));
      });
}

}  // namespace lb
