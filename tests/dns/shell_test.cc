// The pure parts of the shells: publication, transfers, NOTIFY, judging of answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "dns/answer/publisher.h"
#include "dns/control/probe.h"
#include "dns/serve/notify.h"
#include "dns/serve/query_log.h"
#include "dns/serve/transfer.h"
#include "tests/dns/dns_fixture.h"

namespace dns {
namespace {

using test::N;
using testing::HasSubstr;

std::shared_ptr<const Generation> MakeGeneration(uint64_t id) {
  auto generation = std::make_shared<Generation>();
  generation->id = id;
  return generation;
}

TEST(PublisherTest, AnOldGenerationLivesWhileAReaderHoldsIt) {
  auto first = MakeGeneration(1);
  std::weak_ptr<const Generation> watched = first;
  Publisher publisher(std::move(first));
  Publisher::Reader* reader = publisher.AddReader();
  EXPECT_EQ(reader->Acquire().id, 1u);
  publisher.Publish(MakeGeneration(2));
  EXPECT_FALSE(watched.expired());
  EXPECT_EQ(publisher.retired(), 1u);
  reader->Release();
  EXPECT_EQ(reader->Acquire().id, 2u);
  reader->Release();
  publisher.Publish(MakeGeneration(3));
  EXPECT_TRUE(watched.expired());
}

TEST(PublisherTest, ReadersAlwaysSeeAWholeGenerationWhileOthersArePublished) {
  Publisher publisher(MakeGeneration(1));
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  std::atomic<uint64_t> reads{0};
  for (int i = 0; i < 2; ++i) {
    Publisher::Reader* reader = publisher.AddReader();
    threads.emplace_back([&stop, &reads, reader] {
      uint64_t last = 0;
      while (!stop) {
        const Generation& generation = reader->Acquire();
        EXPECT_GE(generation.id, last);
        last = generation.id;
        reader->Release();
        ++reads;
      }
    });
  }
  for (uint64_t id = 2; id < 2000 || reads < 1000; ++id) {
    publisher.Publish(MakeGeneration(id));
    if (id % 64 == 0) std::this_thread::yield();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  publisher.Publish(MakeGeneration(1'000'000'000));
  EXPECT_EQ(publisher.retired(), 0u);
}

TEST(TransferWriterTest, SoaStandsFirstAndLastAndMessagesStayBounded) {
  auto soa = ReadRecord("@ 60 IN SOA ns h 1 2 3 4 5", N("example.org."), 60);
  std::vector<Record> records;
  for (int i = 0; i < 1000; ++i) {
    records.push_back({N("example.org."), Type::kTxt, 60, Bytes(200, 'x')});
  }
  TransferWriter writer(*soa, records, {0, 0, 252, 0, 1}, 77);
  size_t total = 0;
  std::vector<Type> first_and_last;
  while (!writer.done()) {
    Bytes message = writer.Next();
    ASSERT_FALSE(message.empty());
    EXPECT_LE(message.size(), TransferWriter::kMessageBytes);
    auto response = test::ReadResponse(message);
    EXPECT_EQ(response.id, 77);
    for (const auto& record : response.records) first_and_last.push_back(record.type);
    total += response.records.size();
  }
  EXPECT_EQ(total, 1002u);
  EXPECT_EQ(first_and_last.front(), Type::kSoa);
  EXPECT_EQ(first_and_last.back(), Type::kSoa);
}

TEST(TransferWriterTest, Case29ARecordTooLargeForAMessageEndsTheTransfer) {
  auto soa = ReadRecord("@ 60 IN SOA ns h 1 2 3 4 5", N("example.org."), 60);
  TransferWriter writer(*soa, {{N("example.org."), Type::kTxt, 60, Bytes(65'520, 'x')}}, {}, 1);
  EXPECT_FALSE(writer.Next().empty());  // the SOA
  EXPECT_TRUE(writer.Next().empty());
}

TEST(NotifyTest, OnlyAResponseWithTheIdAcknowledges) {
  Bytes notify = MakeNotify(N("example.org."), 0x1234);
  EXPECT_EQ(notify[2] >> 3 & 15, 4);
  EXPECT_FALSE(AcknowledgesNotify(notify, 0x1234));  // itself
  notify[2] = static_cast<uint8_t>(notify[2] | 0x80);
  EXPECT_TRUE(AcknowledgesNotify(notify, 0x1234));
  EXPECT_FALSE(AcknowledgesNotify(notify, 0x1235));
  EXPECT_FALSE(AcknowledgesNotify(ByteView(notify).first(5), 0x1234));
}

TEST(ProbeTest, AStreamIsGoodWithFeaturesAndBadWithAnythingElse) {
  std::string reason;
  EXPECT_EQ(JudgeStream("", &reason), StreamVerdict::kMore);
  EXPECT_EQ(JudgeStream("<?xm", &reason), StreamVerdict::kMore);
  EXPECT_EQ(JudgeStream("<?xml version='1.0'?><stream:stream xmlns=", &reason),
            StreamVerdict::kMore);
  EXPECT_EQ(JudgeStream("<?xml version='1.0'?><stream:stream><stream:features>", &reason),
            StreamVerdict::kGood);
  EXPECT_EQ(JudgeStream("<stream:stream><stream:error><host-unknown/>", &reason),
            StreamVerdict::kBad);
  EXPECT_EQ(JudgeStream("SSH-2.0-OpenSSH\r\n", &reason), StreamVerdict::kBad);
  EXPECT_THAT(reason, HasSubstr("SSH-2.0"));
}

TEST(ProbeTest, HttpStatusAndNodesBehindDecide) {
  CheckConfig config;
  config.type = CheckType::kStatus;
  EXPECT_TRUE(JudgeHttp(config, 200, R"({"state":"running","nodes_up":1,"nodes_total":3})").ok);
  EXPECT_FALSE(JudgeHttp(config, 200, R"({"state":"running","nodes_up":0,"nodes_total":3})").ok);
  EXPECT_FALSE(JudgeHttp(config, 200, R"({"state":"starting"})").ok);
  EXPECT_FALSE(JudgeHttp(config, 503, R"({"state":"running"})").ok);
  EXPECT_FALSE(JudgeHttp(config, 200, "<html>").ok);
  config.type = CheckType::kHttp;
  config.expect_status = 204;
  EXPECT_TRUE(JudgeHttp(config, 204, "").ok);
}

TEST(QueryLogTest, SamplesAndCountsWhatDoesNotFit) {
  QueryLog log(3);
  int due = 0;
  for (int i = 0; i < 9; ++i) due += log.Due() ? 1 : 0;
  EXPECT_EQ(due, 3);
  size_t taken = 0;
  for (size_t i = 0; i < QueryLog::kEntries + 10; ++i) {
    if (QueryLogEntry* entry = log.Reserve()) {
      entry->name_size = 1;
      entry->name[0] = 0;
      log.Push();
      ++taken;
    }
  }
  EXPECT_EQ(taken, QueryLog::kEntries);
  EXPECT_EQ(log.lost(), 10u);
  size_t read = 0;
  while (log.Front() != nullptr) {
    log.Pop();
    ++read;
  }
  EXPECT_EQ(read, taken);
  EXPECT_EQ(QueryLog(0).Due(), false);
}

}  // namespace
}  // namespace dns
