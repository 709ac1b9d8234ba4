#include "lb/health/discovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "net/report/log.h"
#include "tests/lb/dns_fake.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

DiscoverConfig ConfigFor(DiscoverRecord record) {
  DiscoverConfig config;
  config.record = record;
  config.name = record == DiscoverRecord::kSrv ? "_xmpp-client._tcp.example.org" : "xmpp.example";
  config.port = record == DiscoverRecord::kSrv ? 0 : 5222;
  return config;
}

net::Address Ip(std::string_view ip) { return net::Address::FromIp(ip, 0).value(); }

// "name address weight[ backup]"
std::vector<std::string> Shown(const std::vector<DiscoveredNode>& nodes) {
  std::vector<std::string> out;
  for (const auto& node : nodes) {
    out.push_back(node.name + " " + node.address.ToString() + " " + std::to_string(node.weight) +
                  (node.backup ? " backup" : ""));
  }
  return out;
}

// --- Pure ----------------------------------------------------------------------------------------

TEST(DiscoveryNodes, AddressesBecomeNodesOfTheConfiguredPortAndWeight) {
  DiscoverConfig config = ConfigFor(DiscoverRecord::kA);
  config.weight = 7;
  net::DnsAnswer answer{.addresses = {Ip("192.0.2.1"), Ip("2001:db8::1")}, .services = {}};
  EXPECT_THAT(Shown(NodesOfAddresses(config, answer).nodes),
              ElementsAre("192.0.2.1 192.0.2.1:5222 7", "2001:db8::1 [2001:db8::1]:5222 7"));
}

TEST(DiscoveryNodes, NodesMaxCutsAndCounts) {
  DiscoverConfig config = ConfigFor(DiscoverRecord::kA);
  config.nodes_max = 2;
  net::DnsAnswer answer;
  for (int i = 1; i <= 5; ++i) answer.addresses.push_back(Ip("192.0.2." + std::to_string(i)));
  DiscoveredSet set = NodesOfAddresses(config, answer);
  EXPECT_EQ(set.nodes.size(), 2U);
  EXPECT_EQ(set.ignored, 3U);
}

TEST(DiscoveryNodes, TheLowestPriorityIsPrimaryAndWeightsAreScaledToTheirMean) {
  DiscoverConfig config = ConfigFor(DiscoverRecord::kSrv);
  std::vector<ResolvedService> services = {
      {{20, 5, 5222, "spare.example"}, {Ip("192.0.2.9")}},
      {{10, 10, 5222, "a.example"}, {Ip("192.0.2.1")}},
      {{10, 30, 5222, "b.example"}, {Ip("192.0.2.2")}},
      {{10, 0, 5223, "c.example"}, {Ip("192.0.2.3")}},
      {{5, 0, 5223, "nowhere.example"}, {}},
  };
  EXPECT_THAT(Shown(NodesOfServices(config, services, {}).nodes),
              ElementsAre("a.example:5222 192.0.2.1:5222 75", "b.example:5222 192.0.2.2:5222 225",
                          "c.example:5223 192.0.2.3:5223 1",
                          "spare.example:5222 192.0.2.9:5222 100 backup"));
}

TEST(DiscoveryNodes, WeightsOfZeroAreEqualAndExtremesStayInRange) {
  DiscoverConfig config = ConfigFor(DiscoverRecord::kSrv);
  std::vector<ResolvedService> services = {{{0, 0, 1, "a.example"}, {Ip("192.0.2.1")}},
                                           {{0, 0, 1, "b.example"}, {Ip("192.0.2.2")}}};
  EXPECT_THAT(Shown(NodesOfServices(config, services, {}).nodes),
              ElementsAre("a.example:1 192.0.2.1:1 100", "b.example:1 192.0.2.2:1 100"));
  config.weight = 1000;
  services[0].service.weight = 65'535;
  EXPECT_THAT(Shown(NodesOfServices(config, services, {}).nodes),
              ElementsAre("a.example:1 192.0.2.1:1 1000", "b.example:1 192.0.2.2:1 1"));
}

TEST(DiscoveryNodes, ANodeKeepsItsAddressAsLongAsItsTargetHasIt) {
  DiscoverConfig config = ConfigFor(DiscoverRecord::kSrv);
  std::vector<ResolvedService> services = {
      {{0, 1, 5222, "a.example"}, {Ip("2001:db8::1"), Ip("192.0.2.7"), Ip("192.0.2.8")}}};
  auto first = NodesOfServices(config, services, {}).nodes;
  EXPECT_THAT(Shown(first), ElementsAre("a.example:5222 192.0.2.7:5222 100"));
  services[0].addresses = {Ip("192.0.2.1"), Ip("192.0.2.7")};
  EXPECT_EQ(NodesOfServices(config, services, first).nodes, first);
  services[0].addresses = {Ip("192.0.2.1")};
  EXPECT_THAT(Shown(NodesOfServices(config, services, first).nodes),
              ElementsAre("a.example:5222 192.0.2.1:5222 100"));
}

TEST(DiscoveryNodes, ATargetThatStandsTwiceIsOneNodeOfItsFirstPriority) {
  DiscoverConfig config = ConfigFor(DiscoverRecord::kSrv);
  std::vector<ResolvedService> services = {{{20, 1, 1, "a.example"}, {Ip("192.0.2.1")}},
                                           {{10, 1, 1, "a.example"}, {Ip("192.0.2.1")}}};
  EXPECT_THAT(Shown(NodesOfServices(config, services, {}).nodes),
              ElementsAre("a.example:1 192.0.2.1:1 100"));
}

TEST(DiscoveryTimes, TheTtlShortensTheIntervalButNotBelowASecond) {
  DiscoverConfig config;
  config.interval = seconds(30);
  EXPECT_EQ(NextLookup(config, seconds(300)), seconds(30));
  EXPECT_EQ(NextLookup(config, seconds(10)), seconds(10));
  EXPECT_EQ(NextLookup(config, seconds(0)), seconds(1));
}

TEST(DiscoveryTimes, FailuresBackOffUpToTheInterval) {
  DiscoverConfig config;
  config.interval = seconds(30);
  EXPECT_EQ(NextLookupAfterFailure(config, 1), seconds(1));
  EXPECT_EQ(NextLookupAfterFailure(config, 2), seconds(2));
  EXPECT_EQ(NextLookupAfterFailure(config, 5), seconds(16));
  EXPECT_EQ(NextLookupAfterFailure(config, 6), seconds(30));
  EXPECT_EQ(NextLookupAfterFailure(config, UINT32_MAX), seconds(30));
}

// --- Against a resolver on loopback --------------------------------------------------------------

std::expected<net::DnsAnswer, net::DnsFailure> AskFake(const FakeResolver& resolver,
                                                       net::DnsType type,
                                                       net::DnsClientOptions options = {}) {
  net::DnsClient client(options);
  std::vector resolvers = {resolver.address()};
  return client.Ask(resolvers, {"xmpp.example", type});
}

constexpr net::DnsClientOptions kHasty{.timeout = milliseconds(50), .attempts = 1};

TEST(DnsClient, TakesTheAnswerToItsQuestion) {
  FakeResolver resolver;
  resolver.Handle(
      [](auto query, bool) { return Packets{FakeAnswer(query).Ip("192.0.2.1").bytes()}; });
  auto answer = AskFake(resolver, net::DnsType::kA);
  ASSERT_TRUE(answer) << net::DnsFailureName(answer.error());
  EXPECT_EQ(answer->addresses.at(0).IpToString(), "192.0.2.1");
  EXPECT_THAT(resolver.questions(), ElementsAre("xmpp.example/A"));
}

TEST(DnsClient, ForgedAndBrokenPacketsBeforeTheAnswerDoNoHarm) {
  FakeResolver resolver;
  resolver.Handle([](auto query, bool) {
    Bytes wrong_id = FakeAnswer(query).Ip("198.51.100.66").bytes();
    wrong_id[0] ^= 0xff;
    Bytes other_question = FakeAnswer(query).Ip("198.51.100.66").bytes();
    other_question[13] ^= 1;
    return Packets{Bytes{}, Bytes{1, 2, 3}, wrong_id, other_question,
                   FakeAnswer(query).Ip("192.0.2.1").bytes()};
  });
  auto answer = AskFake(resolver, net::DnsType::kA);
  ASSERT_TRUE(answer) << net::DnsFailureName(answer.error());
  ASSERT_EQ(answer->addresses.size(), 1U);
  EXPECT_EQ(answer->addresses[0].IpToString(), "192.0.2.1");
}

TEST(DnsClient, SilenceIsATimeoutAfterAllAttempts) {
  FakeResolver resolver;
  auto answer = AskFake(resolver, net::DnsType::kA, {.timeout = milliseconds(30), .attempts = 3});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), net::DnsFailure::kTimeout);
  EXPECT_EQ(resolver.questions().size(), 3U);
}

TEST(DnsClient, NobodyThereIsToldAtOnce) {
  std::vector<net::Address> resolvers;
  {
    FakeResolver gone;
    resolvers.push_back(gone.address());
  }
  net::DnsClient client({.timeout = seconds(30), .attempts = 1});
  auto answer = client.Ask(resolvers, {"xmpp.example", net::DnsType::kA});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), net::DnsFailure::kUnreachable);
}

TEST(DnsClient, TheNextResolverIsAskedWhenOneFails) {
  FakeResolver broken;
  broken.Handle([](auto query, bool) { return Packets{FakeAnswer(query, 2).bytes()}; });
  FakeResolver works;
  works.Handle([](auto query, bool) { return Packets{FakeAnswer(query).Ip("192.0.2.1").bytes()}; });
  net::DnsClient client;
  std::vector resolvers = {broken.address(), works.address()};
  EXPECT_TRUE(client.Ask(resolvers, {"xmpp.example", net::DnsType::kA}));
  EXPECT_EQ(broken.questions().size(), 1U);
}

TEST(DnsClient, ANameThatDoesNotExistIsAskedForOnce) {
  FakeResolver resolver;
  resolver.Handle([](auto query, bool) { return Packets{FakeAnswer(query, 3).bytes()}; });
  auto answer = AskFake(resolver, net::DnsType::kA);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), net::DnsFailure::kNoSuchName);
  EXPECT_EQ(resolver.questions().size(), 1U);
}

TEST(DnsClient, ATruncatedAnswerIsFetchedOverTcp) {
  FakeResolver resolver;
  resolver.Handle([](auto query, bool tcp) {
    FakeAnswer answer(query, 0, tcp ? 0 : 0x0200);
    for (int i = 1; tcp && i <= 200; ++i) answer.Ip("192.0.2." + std::to_string(i));
    return Packets{answer.bytes()};
  });
  auto answer = AskFake(resolver, net::DnsType::kA);
  ASSERT_TRUE(answer) << net::DnsFailureName(answer.error());
  EXPECT_EQ(answer->addresses.size(), 200U);
  EXPECT_THAT(resolver.questions(), ElementsAre("xmpp.example/A", "xmpp.example/A tcp"));
}

TEST(DnsClient, AResolverThatIsSilentOverTcpIsATimeout) {
  FakeResolver resolver;
  resolver.Handle([](auto query, bool tcp) {
    return tcp ? Packets{} : Packets{FakeAnswer(query, 0, 0x0200).bytes()};
  });
  auto answer = AskFake(resolver, net::DnsType::kA, kHasty);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), net::DnsFailure::kTimeout);
}

TEST(DnsClient, GarbageOverTcpIsGarbage) {
  FakeResolver resolver;
  resolver.Handle([](auto query, bool tcp) {
    if (!tcp) return Packets{FakeAnswer(query, 0, 0x0200).bytes()};
    Bytes cut = FakeAnswer(query).Ip("192.0.2.1").bytes();
    cut.pop_back();
    return Packets{cut};
  });
  auto answer = AskFake(resolver, net::DnsType::kA, kHasty);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), net::DnsFailure::kGarbage);
}

TEST(DnsClient, WithoutAResolverThereIsNoAnswer) {
  net::DnsClient client;
  EXPECT_EQ(client.Ask({}, {"xmpp.example", net::DnsType::kA}).error(),
            net::DnsFailure::kNoResolver);
}

TEST(DnsClient, SystemResolversComeFromResolvConf) {
  for (const net::Address& resolver : net::SystemResolvers()) EXPECT_NE(resolver.port(), 0);
  EXPECT_LE(net::SystemResolvers().size(), 3U);
}

// Collects what a Discovery tells, and waits for it.
class Sets {
 public:
  Discovery::OnChange Callback() {
    return [this](const std::vector<DiscoveredNode>& nodes) {
      std::lock_guard lock(mutex_);
      sets_.push_back(Shown(nodes));
      changed_.notify_all();
    };
  }
  // The n-th set (from 1); empty when it does not come in time.
  std::vector<std::string> Wait(size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, seconds(10), [&] { return sets_.size() >= n; });
    return sets_.size() >= n ? sets_[n - 1] : std::vector<std::string>{};
  }
  size_t size() {
    std::lock_guard lock(mutex_);
    return sets_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<std::string>> sets_;
};

class DiscoveryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    net::ConfigureLog({.sink = [this](std::string_view line) {
      std::lock_guard lock(mutex_);
      lines_.emplace_back(line);
      logged_.notify_all();
    }});
  }
  void TearDown() override { net::ConfigureLog({}); }

  DiscoverConfig Config(DiscoverRecord record) {
    DiscoverConfig config = ConfigFor(record);
    config.resolver = resolver_.address();
    config.interval = std::chrono::hours(1);
    return config;
  }
  bool WaitForLine(std::string_view text) {
    std::unique_lock lock(mutex_);
    return logged_.wait_for(lock, seconds(10), [&] {
      return std::ranges::any_of(
          lines_, [&](const std::string& line) { return line.find(text) != std::string::npos; });
    });
  }
  static bool WaitFor(const std::function<bool()>& condition) {
    auto deadline = std::chrono::steady_clock::now() + seconds(10);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return true;
  }
  // Until so many look-ups have failed.
  static bool WaitForFailures(const Discovery& discovery, uint64_t n) {
    return WaitFor([&] { return discovery.stats().failures.load() >= n; });
  }

  FakeResolver resolver_;
  Sets sets_;
  std::mutex mutex_;
  std::condition_variable logged_;
  std::vector<std::string> lines_;
};

TEST_F(DiscoveryTest, AddressesAreHandedOverAndAgainWhenTheyChange) {
  resolver_.Handle(
      [](auto query, bool) { return Packets{FakeAnswer(query).Ip("192.0.2.1").bytes()}; });
  Discovery discovery("p", Config(DiscoverRecord::kA), sets_.Callback());
  EXPECT_THAT(sets_.Wait(1), ElementsAre("192.0.2.1 192.0.2.1:5222 100"));
  resolver_.Handle([](auto query, bool) {
    return Packets{FakeAnswer(query).Ip("192.0.2.1").Ip("192.0.2.2").bytes()};
  });
  discovery.LookUpNowForTest();
  EXPECT_THAT(sets_.Wait(2),
              ElementsAre("192.0.2.1 192.0.2.1:5222 100", "192.0.2.2 192.0.2.2:5222 100"));
  EXPECT_EQ(discovery.stats().changes.load(), 2U);
}

TEST_F(DiscoveryTest, FailuresAndEmptyAnswersKeepTheLastKnownSet) {
  resolver_.Handle(
      [](auto query, bool) { return Packets{FakeAnswer(query).Ip("192.0.2.1").bytes()}; });
  Discovery discovery("p", Config(DiscoverRecord::kA), sets_.Callback(), kHasty);
  ASSERT_THAT(sets_.Wait(1), ::testing::SizeIs(1));
  std::vector<FakeResolver::Handler> failures = {
      [](auto query, bool) { return Packets{FakeAnswer(query, 3).bytes()}; },  // NXDOMAIN
      [](auto query, bool) { return Packets{FakeAnswer(query, 2).bytes()}; },  // SERVFAIL
      [](auto query, bool) { return Packets{FakeAnswer(query).bytes()}; },     // empty
      [](auto query, bool) {
        Bytes garbage = FakeAnswer(query).bytes();
        garbage[7] = 9;  // nine records, none there
        return Packets{garbage};
      },
      [](auto, bool) { return Packets{}; },  // silence
  };
  for (size_t i = 0; i < failures.size(); ++i) {
    resolver_.Handle(failures[i]);
    discovery.LookUpNowForTest();
    ASSERT_TRUE(WaitForFailures(discovery, i + 1)) << i;
  }
  EXPECT_EQ(sets_.size(), 1U);
  EXPECT_TRUE(
      WaitForLine("look-up failed; the last known nodes stay pool=p name=xmpp.example "
                  "reason=\"no such name\" nodes=1"));
  resolver_.Handle(
      [](auto query, bool) { return Packets{FakeAnswer(query).Ip("192.0.2.1").bytes()}; });
  discovery.LookUpNowForTest();
  EXPECT_TRUE(WaitForLine("look-up works again"));
  EXPECT_EQ(sets_.size(), 1U);  // it is the same set
}

TEST_F(DiscoveryTest, ServicesAreResolvedWithTheirTargets) {
  resolver_.Handle([](auto query, bool) {
    std::string question = QuestionOf(query);
    FakeAnswer answer(query);
    if (question.ends_with("/SRV")) {
      answer.Srv(10, 1, 5222, "v4.example")
          .Srv(10, 3, 5223, "v6.example")
          .Srv(20, 1, 5222, "v4.example")
          .Srv(20, 1, 5224, "spare.example")
          .Srv(10, 1, 5222, "gone.example");
    } else if (question == "v4.example/A") {
      answer.Ip("192.0.2.1");
    } else if (question == "v6.example/AAAA") {
      answer.Ip("2001:db8::6");
    } else if (question == "spare.example/A") {
      answer.Ip("192.0.2.9");
    } else if (question.starts_with("gone.example")) {
      return Packets{FakeAnswer(query, 3).bytes()};
    }
    return Packets{answer.bytes()};
  });
  Discovery discovery("p", Config(DiscoverRecord::kSrv), sets_.Callback());
  EXPECT_THAT(sets_.Wait(1), ElementsAre("v4.example:5222 192.0.2.1:5222 50",
                                         "v6.example:5223 [2001:db8::6]:5223 150",
                                         "spare.example:5224 192.0.2.9:5224 100 backup"));
}

TEST_F(DiscoveryTest, ATargetThatCannotBeAskedForNowKeepsTheLastKnownSet) {
  resolver_.Handle([](auto query, bool) {
    FakeAnswer answer(query);
    QuestionOf(query).ends_with("/SRV") ? answer.Srv(1, 1, 1, "a.example") : answer.Ip("192.0.2.1");
    return Packets{answer.bytes()};
  });
  Discovery discovery("p", Config(DiscoverRecord::kSrv), sets_.Callback(), kHasty);
  ASSERT_THAT(sets_.Wait(1), ElementsAre("a.example:1 192.0.2.1:1 100"));
  resolver_.Handle([](auto query, bool) {
    if (!QuestionOf(query).ends_with("/SRV")) return Packets{FakeAnswer(query, 2).bytes()};
    return Packets{FakeAnswer(query).Srv(1, 1, 1, "a.example").Srv(1, 1, 1, "b.example").bytes()};
  });
  discovery.LookUpNowForTest();
  ASSERT_TRUE(WaitForFailures(discovery, 1));
  EXPECT_EQ(sets_.size(), 1U);
}

TEST_F(DiscoveryTest, MoreThanNodesMaxIsCutAndTold) {
  resolver_.Handle([](auto query, bool) {
    FakeAnswer answer(query);
    for (int i = 1; i <= 9; ++i) answer.Ip("192.0.2." + std::to_string(i));
    return Packets{answer.bytes()};
  });
  DiscoverConfig config = Config(DiscoverRecord::kA);
  config.nodes_max = 4;
  Discovery discovery("p", config, sets_.Callback());
  EXPECT_EQ(sets_.Wait(1).size(), 4U);
  EXPECT_EQ(discovery.stats().ignored.load(), 5U);
  EXPECT_TRUE(WaitForLine("left_out=5"));
}

TEST_F(DiscoveryTest, EndsAtOnceInTheMiddleOfAQuestion) {
  DiscoverConfig config = Config(DiscoverRecord::kA);
  auto start = std::chrono::steady_clock::now();
  {
    Discovery discovery("p", config, sets_.Callback(),
                        {.timeout = std::chrono::minutes(10), .attempts = 1});
    ASSERT_TRUE(WaitFor([this] { return !resolver_.questions().empty(); }));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(10));
  EXPECT_EQ(sets_.size(), 0U);
}

TEST_F(DiscoveryTest, AShortTtlIsAskedAgainSoon) {
  resolver_.Handle(
      [](auto query, bool) { return Packets{FakeAnswer(query).Ip("192.0.2.1", 0).bytes()}; });
  DiscoverConfig config = Config(DiscoverRecord::kA);
  Discovery discovery("p", config, sets_.Callback());
  ASSERT_EQ(sets_.Wait(1).size(), 1U);
  resolver_.Handle(
      [](auto query, bool) { return Packets{FakeAnswer(query).Ip("192.0.2.2", 0).bytes()}; });
  // Nobody tells it to: the TTL of 0 brings the next look-up after a second.
  EXPECT_THAT(sets_.Wait(2), ElementsAre("192.0.2.2 192.0.2.2:5222 100"));
}

}  // namespace
}  // namespace lb
