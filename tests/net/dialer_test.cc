#include "net/conn/dialer.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "net/conn/dns_dial_lookup.h"
#include "tests/net/conn_fixture.h"

namespace net::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Address Four(uint8_t last) { return Address::V4({192, 0, 2, last}, 0); }
Address Six(uint8_t last) {
  std::array<uint8_t, 16> ip{0x20, 0x01, 0x0d, 0xb8};
  ip[15] = last;
  return Address::V6(ip, 0);
}

// --- The plan -----------------------------------------------------------------------------------

TEST(DialPlanTest, ServicesGoByPriorityAndWithinOneByWeight) {
  FastRandom random(3);
  std::map<std::string, int> first;
  for (int i = 0; i < 4'000; ++i) {
    const auto ordered = OrderServices({{.priority = 20, .weight = 9, .port = 1, .target = "last"},
                                        {.priority = 5, .weight = 0, .port = 1, .target = "light"},
                                        {.priority = 5, .weight = 75, .port = 1, .target = "heavy"},
                                        {.priority = 5, .weight = 25, .port = 1, .target = "mid"}},
                                       &random);
    ASSERT_EQ(ordered.size(), 4U);
    EXPECT_EQ(ordered[3].target, "last");
    ++first[ordered[0].target];
  }
  EXPECT_NEAR(first["heavy"], 3'000, 200);
  EXPECT_NEAR(first["mid"], 1'000, 200);
  EXPECT_GT(first["light"], 0);
  EXPECT_LT(first["light"], 120);
  std::vector<DnsService> many(1'000, {.priority = 1, .weight = 65'535, .port = 1, .target = "x"});
  EXPECT_EQ(OrderServices(many, &random).size(), kDialTargetsMax);
  EXPECT_TRUE(OrderServices({}, &random).empty());
}

TEST(DialPlanTest, FamiliesTakeTurnsAndThereIsABound) {
  EXPECT_EQ(Interleave({Four(1), Four(2), Four(3), Six(1), Six(2)}),
            (std::vector<Address>{Six(1), Four(1), Six(2), Four(2), Four(3)}));
  EXPECT_EQ(Interleave({Four(1)}), std::vector<Address>{Four(1)});
  std::vector<Address> many(100, Four(7));
  many.insert(many.end(), 100, Six(7));
  EXPECT_EQ(Interleave(many).size(), kDialAddressesMax);
}

TEST(DialPlanTest, TheNextOneIsTriedAfterAMomentOrAtOnceWhenOneFailed) {
  const Time start{seconds(100)};
  DialRace race({.attempt_delay = milliseconds(250), .timeout = seconds(3), .at_once_max = 2},
                start);
  EXPECT_TRUE(race.exhausted());
  race.Add({Six(1), Four(1), Six(2), Four(2)});
  EXPECT_EQ(race.Begin(start), Six(1));
  EXPECT_EQ(race.Begin(start), std::nullopt);
  EXPECT_EQ(race.wake(), start + milliseconds(250));
  EXPECT_EQ(race.Begin(start + milliseconds(249)), std::nullopt);
  EXPECT_EQ(race.Begin(start + milliseconds(250)), Four(1));
  EXPECT_EQ(race.Begin(start + milliseconds(900)), std::nullopt) << "two run";
  EXPECT_EQ(race.wake(), start + seconds(3));
  race.Failed(start + milliseconds(910));
  EXPECT_EQ(race.wake(), start + milliseconds(910));
  EXPECT_EQ(race.Begin(start + milliseconds(910)), Six(2));
  race.Failed(start + milliseconds(920));
  race.Failed(start + milliseconds(920));
  EXPECT_FALSE(race.exhausted());
  EXPECT_EQ(race.Begin(start + milliseconds(920)), Four(2));
  race.Failed(start + milliseconds(930));
  EXPECT_TRUE(race.exhausted());
  race.Add({Four(3)});
  EXPECT_TRUE(race.over(start + seconds(3)));
  EXPECT_EQ(race.Begin(start + seconds(3)), std::nullopt) << "its time is over";
}

TEST(DialPlanTest, BackoffGrowsToItsBoundAndNobodyComesAtOneTimeWithAllOthers) {
  FastRandom random(9);
  Backoff backoff({.first = milliseconds(500), .most = seconds(8)});
  Duration bound = milliseconds(500);
  for (int i = 0; i < 10; ++i) {
    const Duration wait = backoff.Next(&random);
    EXPECT_GE(wait, bound / 2);
    EXPECT_LE(wait, bound);
    bound = std::min<Duration>(bound * 2, seconds(8));
  }
  backoff.Reset();
  std::set<Duration> waits;
  for (int i = 0; i < 100; ++i) {
    Backoff other({});
    waits.insert(other.Next(&random));
  }
  EXPECT_GT(waits.size(), 95U);
  EXPECT_LE(backoff.Next(&random), milliseconds(500));
}

// --- The dialer ---------------------------------------------------------------------------------

class FakeLookup final : public DialLookup {
 public:
  explicit FakeLookup(EventLoop& loop) : loop_(loop) {}
  void FindServices(const std::string& name,
                    std::move_only_function<void(Services)> done) override {
    asked.push_back("SRV " + name);
    const auto found = services.find(name);
    loop_.Post([done = std::move(done),
                answer = found == services.end()
                             ? Services(std::unexpected(DnsFailure::kNoRecords))
                             : found->second]() mutable { done(std::move(answer)); });
  }
  void FindAddresses(const std::string& host,
                     std::move_only_function<void(Addresses)> done) override {
    asked.push_back(host);
    const auto found = addresses.find(host);
    loop_.Post([done = std::move(done), answer = found == addresses.end()
                                                     ? Addresses(std::unexpected("unknown host"))
                                                     : found->second]() mutable {
      done(std::move(answer));
    });
  }
  std::map<std::string, Services> services;
  std::map<std::string, Addresses> addresses;
  std::vector<std::string> asked;

 private:
  EventLoop& loop_;
};

class DialerTest : public ConnTest {
 protected:
  void SetUp() override {
    ConnTest::SetUp();
    lookup_ = std::make_unique<FakeLookup>(*loop_);
    dialer_ = std::make_unique<Dialer>(
        *worker_, *lookup_,
        Dialer::Options{.race = {.attempt_delay = milliseconds(20), .timeout = seconds(2)}});
    port_ = ntohs(address_.sin_port);
  }
  void TearDown() override {
    dialer_.reset();
    ConnTest::TearDown();
  }
  void Dial(const DialTarget& target, const ConnTls& tls = {}) {
    dialer_->Dial(target, tls, near_, [this](std::expected<Conn*, DialFailure> result) {
      EXPECT_EQ(near_.opens, 0) << "the answer comes first";
      ++answers_;
      if (result.has_value()) {
        won_ = *result;
      } else {
        failure_ = std::move(result.error());
      }
    });
    EXPECT_EQ(answers_, 0);
  }
  static Address Local() { return Address::V4({127, 0, 0, 1}, 0); }
  // Nobody listens there: refused at once.
  static Address Refusing() { return Address::V4({127, 0, 0, 77}, 0); }

  std::unique_ptr<FakeLookup> lookup_;
  std::unique_ptr<Dialer> dialer_;
  uint16_t port_ = 0;
  int answers_ = 0;
  Conn* won_ = nullptr;
  DialFailure failure_;
};

TEST_F(DialerTest, GoesByTheServicesAndPastThoseThatRefuse) {
  Serve(far_);
  lookup_->services["_xmpp-server._tcp.example.org"] = std::vector<DnsService>{
      {.priority = 2, .weight = 0, .port = port_, .target = "good.example.org"},
      {.priority = 1, .weight = 0, .port = port_, .target = "bad.example.org"},
      {.priority = 1, .weight = 0, .port = port_, .target = "unknown.example.org"}};
  lookup_->addresses["bad.example.org"] = std::vector<Address>{Refusing()};
  lookup_->addresses["good.example.org"] = std::vector<Address>{Refusing(), Local()};
  Dial({.domain = "example.org", .service = "_xmpp-server._tcp", .port = 5269});
  ASSERT_TRUE(Until([&] { return near_.opens == 1; }));
  EXPECT_EQ(answers_, 1);
  EXPECT_EQ(near_.conn, won_);
  EXPECT_EQ(won_->peer().port(), port_);
  EXPECT_EQ(dialer_->under_way(), 0U);
  won_->Send("words");
  ASSERT_TRUE(Until([&] { return far_.received == "words"; }));
  EXPECT_EQ(lookup_->asked.back(), "good.example.org");
  EXPECT_EQ(lookup_->asked.size(), 4U);
}

TEST_F(DialerTest, WithoutServicesTheDomainItselfIsMeantUnlessItSaysThatThereIsNone) {
  Serve(far_);
  lookup_->addresses["example.org"] = std::vector<Address>{Local()};
  Dial({.domain = "example.org", .service = "_xmpp-server._tcp", .port = port_});
  ASSERT_TRUE(Until([&] { return near_.opens == 1; }));
  lookup_->services["_xmpp-server._tcp.example.org"] = std::unexpected(DnsFailure::kNoService);
  near_.opens = answers_ = 0;
  Dial({.domain = "example.org", .service = "_xmpp-server._tcp", .port = port_});
  ASSERT_TRUE(Until([&] { return answers_ == 1; }));
  EXPECT_EQ(failure_.error, DialError::kNoService);
  lookup_->services["_xmpp-server._tcp.example.org"] = std::unexpected(DnsFailure::kServerFailure);
  answers_ = 0;
  Dial({.domain = "example.org", .service = "_xmpp-server._tcp", .port = port_});
  ASSERT_TRUE(Until([&] { return answers_ == 1; }));
  EXPECT_EQ(failure_.error, DialError::kLookup) << "not to be taken for an answer";
}

TEST_F(DialerTest, OneThatIsSilentHoldsNobodyUpAndIsClosedWhenAnotherWins) {
  // Its listen queue is full: connects to it are not answered.
  sockaddr_in silent_address = Loopback();
  silent_address.sin_addr.s_addr = htonl(0x7f000058);
  silent_address.sin_port = htons(port_);
  auto silent = Listen(Plain(silent_address), sizeof silent_address, {.backlog = 0});
  ASSERT_TRUE(silent.has_value()) << silent.error();
  UniqueFd filler(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(filler.get(), Plain(silent_address), sizeof silent_address), 0);
  Serve(far_);
  lookup_->addresses["example.org"] =
      std::vector<Address>{Address::V4({127, 0, 0, 88}, 0), Local()};
  const Time begin = clock_.Now();
  Dial({.domain = "example.org", .port = port_});
  ASSERT_TRUE(Until([&] { return near_.opens == 1; }));
  EXPECT_LT(clock_.Now() - begin, milliseconds(900));
  EXPECT_EQ(won_->peer().IpToString(), "127.0.0.1");
  ASSERT_TRUE(Until([&] { return worker_->size() == 2; })) << "the silent one is gone";
}

TEST_F(DialerTest, SaysWhatTheLastOneSaid) {
  listener_.Reset();
  lookup_->addresses["example.org"] = std::vector<Address>{Local()};
  Dial({.domain = "example.org", .port = port_});
  ASSERT_TRUE(Until([&] { return answers_ == 1; }));
  EXPECT_EQ(failure_.error, DialError::kConnect);
  EXPECT_EQ(failure_.last.error, ECONNREFUSED);
  EXPECT_NE(failure_.what.find("ECONNREFUSED"), std::string::npos) << failure_.what;
  answers_ = 0;
  Dial({.domain = "nowhere.example.org", .port = port_});
  ASSERT_TRUE(Until([&] { return answers_ == 1; }));
  EXPECT_EQ(failure_.error, DialError::kLookup);
  EXPECT_EQ(failure_.what, "nowhere.example.org: unknown host");
}

TEST_F(DialerTest, TheRaceIsWonOverTlsByWhoHasShakenHands) {
  const TlsPair tls;
  Serve(far_, tls.Server());
  lookup_->addresses["example.org"] = std::vector<Address>{Local()};
  Dial({.domain = "example.org", .port = port_}, tls.Client());
  ASSERT_TRUE(Until([&] { return near_.opens == 1; }));
  ASSERT_NE(near_.facts, nullptr);
  EXPECT_TRUE(near_.facts->peer->verified);
  EXPECT_TRUE(won_->secure());
}

TEST_F(DialerTest, ItsEndDropsWhatIsUnderWayWithoutAWord) {
  far_.on_end = [](Conn& conn) { conn.Shutdown(); };
  Serve(far_);
  lookup_->addresses["example.org"] = std::vector<Address>{Local()};
  Dial({.domain = "example.org", .port = port_});
  loop_->RunOnce(milliseconds(1));
  EXPECT_EQ(dialer_->under_way(), 1U);
  dialer_.reset();
  ASSERT_TRUE(Until([&] { return worker_->size() == 0; }));
  EXPECT_EQ(answers_, 0);
  EXPECT_EQ(near_.opens, 0);
}

TEST_F(DialerTest, TheSystemKnowsItsOwnName) {
  BlockingPool pool({.name = "lookup", .threads = 1});
  DnsDialLookup lookup(pool, *loop_);
  bool answered = false;
  lookup.FindAddresses("localhost", [&](DialLookup::Addresses found) {
    answered = true;
    ASSERT_TRUE(found.has_value());
    for (const Address& address : *found) EXPECT_TRUE(address.IsLoopback());
  });
  EXPECT_FALSE(answered);
  EXPECT_TRUE(Until([&] { return answered; }));
}

}  // namespace
}  // namespace net::test
