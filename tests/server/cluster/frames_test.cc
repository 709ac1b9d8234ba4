#include "server/cluster/frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/base/byte_writer.h"

namespace server {
namespace {

std::vector<uint8_t> SomeRecords() {
  std::vector<uint8_t> records;
  AppendOp(&records, {true, "a@h/r", 3, "value", 17});
  AppendOp(&records, {.put = false, .key = "b@h/r"});
  return records;
}

// One of each type.
std::vector<FrameBody> Bodies(const std::vector<uint8_t>& records) {
  MemberView view("a@h", 5, 6);
  view.Set("b@h", MemberState::kRemoved, 9);
  Heartbeat beat{.stamp = 1, .echo = 2, .view_hash = 3};
  beat.reports = {{"a@h", 7, 8, {"b@h", "c@h"}, {"d@h"}}, {"b@h", 9, 1, {}, {}}};
  beat.tables = {{1, 2, 3, {4, 5}}};
  return {Hello{1, 2, 3, true, 4, view},
          beat,
          ViewFrame{1, view},
          ViewAck{2},
          JoinRequest{3, view},
          JoinOffer{4, view},
          Refused{5, "why"},
          Bye{},
          SyncRequest{1, 2},
          SyncChunk{1, 2, 3, true, 4, {5, 6}, records},
          SyncAck{1, 2, 3},
          Batch{1, 2, records},
          Message{9, records}};
}

const FrameHeader kHeader{.from_incarnation = 0x0102030405060708, .to_incarnation = 99};

TEST(Frames, EveryTypeIsReadAsItWasWritten) {
  const auto records = SomeRecords();
  for (const FrameBody& body : Bodies(records)) {
    FrameHeader header = kHeader;
    header.type = static_cast<FrameType>(body.index() + 1);
    const auto bytes = EncodeFrame(header, body);
    const auto frame = DecodeFrame(bytes);
    ASSERT_TRUE(frame.has_value()) << body.index() << frame.error();
    EXPECT_EQ(frame->header.type, header.type);
    EXPECT_EQ(frame->header.from_incarnation, kHeader.from_incarnation);
    EXPECT_EQ(frame->header.to_incarnation, 99U);
    EXPECT_EQ(EncodeFrame(frame->header, frame->body), bytes);
  }
}

TEST(Frames, ReportsKeepWhoSeesWhom) {
  const auto records = SomeRecords();
  const auto bytes = EncodeFrame(kHeader, Bodies(records)[1]);
  const auto frame = DecodeFrame(bytes);
  const auto& beat = std::get<Heartbeat>(frame->body);
  EXPECT_EQ(beat.reports, std::get<Heartbeat>(Bodies(records)[1]).reports);
  EXPECT_EQ(beat.tables[0].digest, (Digest{4, 5}));
}

TEST(Frames, ACutFrameIsNoFrame) {
  const auto records = SomeRecords();
  for (const FrameBody& body : Bodies(records)) {
    const auto bytes = EncodeFrame(kHeader, body);
    // What ends with bytes of any length has no end that could be missed.
    const bool open = std::holds_alternative<SyncChunk>(body) ||
                      std::holds_alternative<Batch>(body) || std::holds_alternative<Message>(body);
    const size_t whole = open ? bytes.size() - records.size() : bytes.size();
    for (size_t cut = 0; cut < whole; ++cut) {
      ASSERT_FALSE(DecodeFrame(std::span(bytes).first(cut)).has_value())
          << body.index() << ' ' << cut;
    }
    auto longer = bytes;
    longer.push_back(0);
    ASSERT_EQ(DecodeFrame(longer).has_value(), open) << body.index();
  }
}

TEST(Frames, OnlyAHelloIsReadInALaterVersionAndMayBeLonger) {
  auto hello = EncodeFrame(kHeader, Hello{});
  hello[0] = 2;
  hello.push_back(7);
  EXPECT_TRUE(DecodeFrame(hello).has_value());
  auto ack = EncodeFrame(kHeader, ViewAck{1});
  ack[0] = 2;
  EXPECT_FALSE(DecodeFrame(ack).has_value());
}

TEST(Frames, TheReceiverIsSetInPlace) {
  auto bytes = EncodeFrame(kHeader, Bye{});
  SetReceiver(bytes, 0xa1b2c3d4e5f60718);
  EXPECT_EQ(DecodeFrame(bytes)->header.to_incarnation, 0xa1b2c3d4e5f60718U);
}

TEST(Frames, CountsAboveTheirBoundAreRefusedBeforeMemoryIsTaken) {
  const auto header = EncodeFrame(kHeader, ViewAck{});
  std::vector<uint8_t> view(header.begin(), header.begin() + kFrameHeaderBytes);
  view[1] = static_cast<uint8_t>(FrameType::kView);
  net::AppendNumber(&view, 1, 8);
  auto lineage = view;
  net::AppendNumber(&lineage, kLineageMax + 1, 2);
  lineage.resize(lineage.size() + 8 * (kLineageMax + 1), 1);
  EXPECT_FALSE(DecodeFrame(lineage).has_value());
  auto entries = view;
  net::AppendNumber(&entries, 0, 2);
  net::AppendNumber(&entries, kEntriesReadMax + 1, 2);
  EXPECT_FALSE(DecodeFrame(entries).has_value());
  EXPECT_FALSE(DecodeFrame(std::vector<uint8_t>(kFrameBytesMax + 1)).has_value());
}

TEST(Frames, OneBadRecordSpoilsTheWholeBatchBeforeAnyIsTaken) {
  auto records = SomeRecords();
  int visited = 0;
  const auto count = [&](const RecordOp&) { ++visited; };
  EXPECT_TRUE(ForEachOp(records, count));
  EXPECT_EQ(visited, 2);
  for (size_t cut = 1; cut < records.size(); ++cut) {
    visited = 0;
    const bool taken = ForEachOp(std::span(records).first(cut), count);
    EXPECT_EQ(taken, visited > 0) << cut;
    EXPECT_TRUE(!taken || visited == 1) << "cut between the two";
  }
  std::vector<uint8_t> large;
  AppendOp(&large, {true, std::string(kKeyBytesMax + 1, 'k'), 0, "", 1});
  EXPECT_FALSE(ForEachOp(large, count));
  std::vector<uint8_t> group;
  AppendOp(&group, {true, "abc", 4, "", 1});
  EXPECT_FALSE(ForEachOp(group, count)) << "a group longer than its key";
}

}  // namespace
}  // namespace server
