// Orders between the DNS nodes: nothing but a fresh, whole and signed one is obeyed.
#include "dns/control/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

constexpr uint64_t kNow = 1'700'000'000;

class FleetTest : public testing::Test {
 protected:
  FleetTest() {
    key_.name = test::N("fleet.");
    key_.secret = Bytes(32, 'f');
    other_ = key_;
    other_.secret[0] ^= 1;
  }
  net::HttpRequest Received(const net::HttpClientRequest& sent) {
    net::HttpRequest request;
    request.method = sent.method;
    request.path = sent.target;
    request.headers = sent.headers;
    request.body = sent.body;
    return request;
  }
  TsigKey key_;
  TsigKey other_;
  FleetGate gate_;
};

TEST_F(FleetTest, AnOrderIsObeyedOnceAndInItsTime) {
  net::HttpRequest order = Received(MakeFleetOrder(key_, "down lb1", kNow));
  EXPECT_FALSE(gate_.Check(other_, order, kNow).has_value());
  EXPECT_TRUE(gate_.Check(key_, order, kNow + kFleetFudge).has_value());
  EXPECT_FALSE(gate_.Check(key_, order, kNow + kFleetFudge).has_value());  // recorded
  for (uint64_t now : {kNow - kFleetFudge - 1, kNow + kFleetFudge + 1}) {
    net::HttpRequest late = Received(MakeFleetOrder(key_, "down lb1", kNow));
    EXPECT_FALSE(gate_.Check(key_, late, now).has_value());
  }
}

TEST_F(FleetTest, EveryPartIsSigned) {
  const net::HttpRequest order = Received(MakeFleetOrder(key_, "down lb1", kNow));
  net::HttpRequest changed = order;
  changed.body = "down lb2";
  EXPECT_FALSE(gate_.Check(key_, changed, kNow).has_value());
  for (size_t i = 0; i < order.headers.size(); ++i) {
    if (!order.headers[i].name.starts_with("Mongoose-")) continue;
    changed = order;
    char& last = changed.headers[i].value.back();
    last = last == '0' ? '1' : '0';
    EXPECT_FALSE(gate_.Check(key_, changed, kNow).has_value()) << order.headers[i].name;
    changed.headers.erase(changed.headers.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(gate_.Check(key_, changed, kNow).has_value()) << order.headers[i].name;
  }
  EXPECT_TRUE(gate_.Check(key_, order, kNow).has_value());
}

TEST_F(FleetTest, TheAnswerBelongsToItsOrder) {
  net::HttpResponse response;
  response.body = "done";
  SignFleetAnswer(key_, FleetAnswer::kOrder, "nonce", response);
  net::HttpReply reply{200, response.headers, response.body};
  EXPECT_TRUE(CheckFleetAnswer(key_, FleetAnswer::kOrder, "nonce", reply).has_value());
  EXPECT_FALSE(CheckFleetAnswer(key_, FleetAnswer::kOrder, "other", reply).has_value());
  EXPECT_FALSE(CheckFleetAnswer(other_, FleetAnswer::kOrder, "nonce", reply).has_value());
  EXPECT_FALSE(CheckFleetAnswer(key_, FleetAnswer::kView, "nonce", reply).has_value())
      << "what one says cannot be passed off as the other";
  reply.body = "not done";
  EXPECT_FALSE(CheckFleetAnswer(key_, FleetAnswer::kOrder, "nonce", reply).has_value());
  reply = {403, response.headers, response.body};
  EXPECT_FALSE(CheckFleetAnswer(key_, FleetAnswer::kOrder, "nonce", reply).has_value());
}

}  // namespace
}  // namespace dns
