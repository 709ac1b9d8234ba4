// Control's part in orders for the whole fleet (fleet.h).
#include "dns/control/control.h"
#include "dns/serve/now.h"
#include "net/report/log.h"

namespace dns {
namespace {

constexpr net::Duration kOrderTimeout = std::chrono::seconds(10);

}  // namespace

std::string Control::OrderPeers(const std::string& request,
                                std::move_only_function<void(std::vector<PeerAnswer>)> done) {
  if (config_->peers.empty()) return "there are no other DNS nodes: quorum.peers is empty";
  if (!config_->fleet_key) {
    return "orders to other nodes are signed: set quorum.key to a key of tsig.key_files, the same "
           "on all nodes";
  }
  struct Round {
    std::vector<PeerAnswer> answers;
    std::vector<std::shared_ptr<ProbeHandle>> running;
    size_t open = 0;
    std::move_only_function<void(std::vector<PeerAnswer>)> done;
  };
  auto round = std::make_shared<Round>();
  round->done = std::move(done);
  round->open = config_->peers.size();
  // A copy: a reload may come before the answers.
  TsigKey key = *config_->tsig_keys->Find(config_->fleet_key->wire());
  for (size_t i = 0; i < config_->peers.size(); ++i) {
    const PeerConfig& peer = config_->peers[i];
    round->answers.push_back({peer.name, "", ""});
    net::HttpClientRequest order = MakeFleetOrder(key, request, ReadNow().unix_seconds);
    std::string nonce = NonceOf(order);
    round->running.push_back(StartFetch(
        loop_, peer.address, std::move(order), kOrderTimeout,
        [round, i, key, nonce](std::expected<net::HttpReply, std::string> reply) {
          PeerAnswer& answer = round->answers[i];
          if (!reply) {
            answer.error = reply.error();
          } else if (auto checked = CheckFleetAnswer(key, FleetAnswer::kOrder, nonce, *reply);
                     !checked) {
            answer.error = checked.error();
          } else {
            answer.reply = reply->body;
          }
          if (--round->open != 0) return;
          round->done(std::move(round->answers));
          round->running.clear();
        }));
  }
  return "";
}

net::HttpResponse Control::TakeOrder(
    const net::HttpRequest& request,
    const std::function<std::string(const std::string&)>& execute) {
  net::HttpResponse response;
  response.status = 403;
  response.body = "orders are signed with quorum.key\n";
  if (!config_->fleet_key) return response;
  const TsigKey& key = *config_->tsig_keys->Find(config_->fleet_key->wire());
  auto checked = fleet_gate_.Check(key, request, ReadNow().unix_seconds);
  if (!checked) {
    net::Log(net::LogLevel::kWarn, "fleet", "an order is refused", {{"why", checked.error()}});
    return response;
  }
  net::Log(net::LogLevel::kInfo, "fleet", "an order of another node", {{"order", request.body}});
  response.status = 200;
  response.content_type = "application/json";
  response.body = execute(request.body);
  SignFleetAnswer(key, FleetAnswer::kOrder, request.Header(kFleetNonce), response);
  return response;
}

net::HttpResponse Control::SignView(const net::HttpRequest& request, net::HttpResponse view) const {
  std::string_view nonce = request.Header(kFleetNonce);
  if (config_->fleet_key && !nonce.empty()) {
    const TsigKey& key = *config_->tsig_keys->Find(config_->fleet_key->wire());
    SignFleetAnswer(key, FleetAnswer::kView, nonce, view);
  }
  return view;
}

}  // namespace dns
