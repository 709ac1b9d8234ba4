// Transfers in: what a primary may send, what is refused, and that a copy on disk is the same zone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns/zone/refresh_timer.h"
#include "dns/zone/transfer_reader.h"
#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using std::chrono::seconds;
using test::N;
using testing::HasSubstr;
using Step = TransferReader::Step;

constexpr size_t kEnough = 1 << 20;
constexpr uint16_t kId = 0x4711;

Record R(std::string_view text) {
  auto record = ReadRecord(text, N("example.org."), 60);
  EXPECT_TRUE(record.has_value()) << text;
  return record.value_or(Record());
}

Record Soa(uint32_t serial) {
  return R("@ 60 IN SOA ns h " + std::to_string(serial) + " 3600 600 86400 60");
}

Bytes TransferMessage(const std::vector<Record>& records, uint16_t flags = 0x8400,
                      uint16_t id = kId) {
  Bytes out;
  Append16(out, id);
  Append16(out, flags);
  Append16(out, 1);
  Append16(out, records.size());
  Append32(out, 0);
  Append(out, N("example.org.").wire());
  Append16(out, 252);
  Append16(out, 1);
  for (const Record& record : records) {
    Append(out, record.owner.wire());
    Append16(out, static_cast<uint16_t>(record.type));
    Append16(out, kClassIn);
    Append32(out, record.ttl);
    Append16(out, record.rdata.size());
    Append(out, record.rdata);
  }
  return out;
}

std::vector<Record> Whole(uint32_t serial) {
  return {Soa(serial),
          R("@ 60 IN NS ns"),
          R("ns 60 IN A 192.0.2.1"),
          R("www 60 IN A 192.0.2.2"),
          R("www 60 IN A 192.0.2.3"),
          Soa(serial)};
}

std::shared_ptr<const Zone> ZoneOf(uint32_t serial) {
  TransferReader reader(N("example.org."), kId, nullptr, kEnough);
  auto step = reader.Take(TransferMessage(Whole(serial)));
  EXPECT_TRUE(step && *step == Step::kDone) << (step ? "" : step.error());
  return reader.Finish().value_or(nullptr);
}

std::vector<Bytes> AddressesOf(const Zone& zone, std::string_view name) {
  auto at = zone.names.find(N(name));
  if (at == zone.names.end() || !at->second.contains(Type::kA)) return {};
  return at->second.at(Type::kA).rdatas;
}

// What a reader that has serial 5 says of these messages.
std::string ErrorOf(const std::vector<Bytes>& messages, std::shared_ptr<const Zone> known = nullptr,
                    size_t size_max = kEnough) {
  TransferReader reader(N("example.org."), kId, std::move(known), size_max);
  for (const Bytes& message : messages) {
    auto step = reader.Take(message);
    if (!step) return step.error();
    if (*step == Step::kDone) {
      auto zone = reader.Finish();
      return zone ? "" : zone.error();
    }
  }
  return "more is due";
}

TEST(TransferReaderTest, AWholeZoneComesInAnyNumberOfMessages) {
  std::vector<Record> records = Whole(5);
  TransferReader reader(N("example.org."), kId, nullptr, kEnough);
  for (size_t i = 0; i < records.size(); ++i) {
    auto step = reader.Take(TransferMessage({records[i]}));
    ASSERT_TRUE(step.has_value()) << step.error();
    EXPECT_EQ(*step, i + 1 == records.size() ? Step::kDone : Step::kMore);
  }
  auto zone = reader.Finish();
  ASSERT_TRUE(zone.has_value()) << zone.error();
  EXPECT_FALSE(reader.incremental());
  EXPECT_EQ(AddressesOf(**zone, "www.example.org.").size(), 2u);
  EXPECT_EQ(SoaSerial((*zone)->names.at(N("example.org.")).at(Type::kSoa).rdatas[0]), 5u);
}

TEST(TransferReaderTest, DifferencesAreAppliedInTheirOrder) {
  auto known = ZoneOf(5);
  TransferReader reader(N("example.org."), kId, known, kEnough);
  auto step = reader.Take(TransferMessage(
      {Soa(7), Soa(5), R("www 60 IN A 192.0.2.2"), Soa(6), R("new 60 IN A 192.0.2.9"), Soa(6),
       R("new 60 IN A 192.0.2.9"), Soa(7), R("www 60 IN A 192.0.2.4"), Soa(7)}));
  ASSERT_TRUE(step.has_value()) << step.error();
  EXPECT_EQ(*step, Step::kDone);
  auto zone = reader.Finish();
  ASSERT_TRUE(zone.has_value()) << zone.error();
  EXPECT_TRUE(reader.incremental());
  EXPECT_EQ(AddressesOf(**zone, "www.example.org."),
            (std::vector<Bytes>{{192, 0, 2, 3}, {192, 0, 2, 4}}));
  EXPECT_FALSE((*zone)->names.contains(N("new.example.org.")));
  EXPECT_EQ(SoaSerial((*zone)->names.at(N("example.org.")).at(Type::kSoa).rdatas[0]), 7u);
  EXPECT_EQ(AddressesOf(*known, "www.example.org.").size(), 2u) << "ours stays as it is";
}

TEST(TransferReaderTest, ASoaAloneSaysThatWeHaveItAll) {
  TransferReader reader(N("example.org."), kId, ZoneOf(5), kEnough);
  auto step = reader.Take(TransferMessage({Soa(5)}));
  ASSERT_TRUE(step && *step == Step::kDone);
  EXPECT_TRUE(reader.up_to_date());
  EXPECT_EQ(reader.Finish().value_or(ZoneOf(1)), nullptr);
}

TEST(TransferReaderTest, AWholeZoneMayAnswerAnIxfrAlsoWhereItsSoaComesAlone) {
  std::vector<Record> rest = Whole(6);
  rest.erase(rest.begin());
  EXPECT_EQ(ErrorOf({TransferMessage(Whole(6))}, ZoneOf(5)), "");
  EXPECT_EQ(ErrorOf({TransferMessage({Soa(6)}), TransferMessage(rest)}, ZoneOf(5)), "");
}

TEST(TransferReaderTest, WhatDoesNotFitIsRefusedInWords) {
  auto with = [](const Record& record) {
    std::vector<Record> records = Whole(5);
    records.insert(records.end() - 1, record);
    return std::vector<Bytes>{TransferMessage(records)};
  };
  EXPECT_THAT(ErrorOf({TransferMessage(Whole(5), 0x8400, 1)}), HasSubstr("no answer"));
  EXPECT_THAT(ErrorOf({TransferMessage(Whole(5), 0x0400)}), HasSubstr("no answer"));
  EXPECT_THAT(ErrorOf({TransferMessage({}, 0x8405)}), HasSubstr("REFUSED"));
  EXPECT_THAT(ErrorOf({TransferMessage(Whole(5), 0x8600)}), HasSubstr("truncated"));
  EXPECT_THAT(ErrorOf({TransferMessage({R("www 60 IN A 192.0.2.1")})}),
              HasSubstr("begin with the SOA"));
  EXPECT_THAT(ErrorOf({TransferMessage({Soa(5), R("@ 60 IN NS ns"), Soa(6)})}),
              HasSubstr("another one"));
  EXPECT_THAT(ErrorOf({TransferMessage({Soa(5), R("ns 60 IN A 192.0.2.1"), Soa(5)})}),
              HasSubstr("no NS"));
  EXPECT_THAT(ErrorOf({TransferMessage({Soa(5), Soa(4), Soa(5), Soa(5)})}),
              HasSubstr("nothing between"));
  EXPECT_THAT(ErrorOf({TransferMessage({Soa(7), Soa(4), Soa(7), Soa(7)})}, ZoneOf(5)),
              HasSubstr("another zone than ours"));
  EXPECT_THAT(ErrorOf({TransferMessage({Soa(7), Soa(5), Soa(6), Soa(5), Soa(7)})}, ZoneOf(5)),
              HasSubstr("do not follow"));
  EXPECT_THAT(ErrorOf({TransferMessage({Soa(7), Soa(5), R("x 60 IN A 192.0.2.1"), Soa(7), Soa(7)})},
                      ZoneOf(5)),
              HasSubstr("is not there"));
  Record rrsig = R("www 60 IN A 192.0.2.1");
  rrsig.type = Type::kRrsig;
  EXPECT_THAT(ErrorOf(with(rrsig)), HasSubstr("signed at its primary"));
  Record meta = R("www 60 IN A 192.0.2.1");
  meta.type = Type::kAny;
  EXPECT_THAT(ErrorOf(with(meta)), HasSubstr("no zone may hold"));
  EXPECT_THAT(ErrorOf(with(R("www 60 IN CNAME x"))), HasSubstr("CNAME beside"));
  EXPECT_EQ(ErrorOf(with(R("outside.example. 60 IN A 192.0.2.1"))), "") << "left out";
  EXPECT_THAT(ErrorOf({TransferMessage(Whole(5))}, nullptr, 600), HasSubstr("size_max"));
}

TEST(TransferReaderTest, EachCutAndEachChangedByteIsTakenOrRefusedAndNothingElse) {
  Bytes good = TransferMessage(Whole(5));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(ErrorOf({Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(size))}), "")
        << size;
  }
  for (size_t i = 0; i < good.size(); ++i) {
    for (uint8_t value : Bytes{0x00, 0x3f, 0x7f, 0xc0, 0xff}) {
      Bytes changed = good;
      changed[i] = value;
      ErrorOf({changed});  // asan and the bounds say
    }
  }
}

TEST(TransferReaderTest, NamesInDataAreDecompressedAndPutInLowerCase) {
  Bytes message = TransferMessage({Soa(5)});
  Put16(message.data() + 6, 3);
  // "@ MX 10 MAIL.<pointer to the question>", then the SOA again.
  Append(message, Bytes{0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 9, 0, 10, 4, 'M', 'A', 'I', 'L'});
  Append(message, Bytes{0xc0, 12});
  Bytes soa = TransferMessage({Soa(5)});
  message.insert(message.end(), soa.begin() + kHeaderBytes + 17, soa.end());
  TransferReader reader(N("example.org."), kId, nullptr, kEnough);
  auto step = reader.Take(message);
  ASSERT_TRUE(step && *step == Step::kDone) << step.error();
  EXPECT_THAT(reader.Finish().error(), HasSubstr("no NS"));  // the rest was read
  MessageRecord head;
  head.type = Type::kMx;
  head.rdata_at = kHeaderBytes + 17 + (soa.size() - kHeaderBytes - 17) + 12;
  head.rdata_size = 9;
  auto rdata = ReadRdata(message, head);
  ASSERT_TRUE(rdata.has_value());
  Bytes expected = {0, 10};
  Append(expected, N("mail.example.org.").wire());
  EXPECT_EQ(*rdata, expected);
  head.rdata_size = 8;  // the pointer is half outside
  EXPECT_FALSE(ReadRdata(message, head).has_value());
}

constexpr RefreshTimes kTimes = {seconds(3600), seconds(600), seconds(86'400)};

TEST(RefreshTimerTest, WithoutDataItAsksAtOnceThenEverMoreSlowly) {
  net::Time now{};
  RefreshTimer timer(now);
  EXPECT_TRUE(timer.IsDue(now));
  EXPECT_TRUE(timer.IsExpired(now));
  for (int wait : {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}) {
    timer.Failed(now);
    EXPECT_EQ(timer.due() - now, seconds(wait));
    now = timer.due();
  }
}

TEST(RefreshTimerTest, RefreshRetryAndExpireAreTheSoas) {
  net::Time now{};
  RefreshTimer timer(now);
  timer.Succeeded(kTimes, now);
  EXPECT_EQ(timer.due() - now, seconds(3600));
  net::Time expires = now + seconds(86'400);
  EXPECT_EQ(timer.expires(), expires);
  now = timer.due();
  for (int i = 0; i < 12; ++i) {
    timer.Failed(now);
    EXPECT_LE(timer.due() - now, seconds(600)) << "at least as often as the SOA says";
    now = timer.due();
  }
  EXPECT_EQ(timer.expires(), expires) << "failures confirm nothing";
  EXPECT_FALSE(timer.IsExpired(expires - seconds(1)));
  EXPECT_TRUE(timer.IsExpired(expires));
  timer.Succeeded(kTimes, expires);
  EXPECT_FALSE(timer.IsExpired(expires));
}

TEST(RefreshTimerTest, ACopyIsAsOldAsItIs) {
  net::Time now{};
  RefreshTimer timer(now);
  timer.Loaded(kTimes, seconds(86'000), now);
  EXPECT_TRUE(timer.IsDue(now));
  EXPECT_FALSE(timer.IsExpired(now + seconds(399)));
  EXPECT_TRUE(timer.IsExpired(now + seconds(400)));
}

TEST(RefreshTimerTest, NotifiesHurryButNotMoreThanOnceASecond) {
  net::Time now{};
  RefreshTimer timer(now);
  timer.Asked(now);
  timer.Succeeded(kTimes, now);
  timer.Hurry(now);
  EXPECT_EQ(timer.due() - now, RefreshTimer::kPace);
  timer.Hurry(now);
  EXPECT_EQ(timer.due() - now, RefreshTimer::kPace);
  now += seconds(10);
  timer.Succeeded(kTimes, now);
  timer.Hurry(now);
  EXPECT_EQ(timer.due(), now);
}

TEST(RefreshTimerTest, TimesOfZeroAreHeldWithinReason) {
  Record soa = R("@ 60 IN SOA ns h 1 0 0 0 0");
  RefreshTimes times = RefreshTimesOf(soa.rdata);
  EXPECT_EQ(times.refresh, seconds(1));
  EXPECT_EQ(times.retry, seconds(1));
  EXPECT_EQ(times.expire, seconds(1));
}

}  // namespace
}  // namespace dns
