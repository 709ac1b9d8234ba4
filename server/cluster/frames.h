// What nodes of a cluster say to each other: bounded, versioned frames, each a binary inside a
// message of the distribution link.
//
//   u8 version  u8 type  u64 incarnation of the sender  u64 incarnation of the receiver  body
//
// A frame is for one life of its receiver and says of which life of its sender it is: whatever was
// on its way when either restarted is not taken. A Hello alone goes to a life not yet known (0).
// Numbers are big-endian. A change of the layout raises the version; what only some nodes know is a
// feature bit of the Hello.
//
// Pure: bytes in, values out. Decoded views point into the frame and hold as long as it does.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/cluster/limits.h"
#include "server/cluster/member_view.h"
#include "server/cluster/record_store.h"

namespace server {

inline constexpr uint8_t kFrameVersion = 1;
inline constexpr uint8_t kFrameVersionMin = 1;
inline constexpr size_t kFrameHeaderBytes = 18;

enum class FrameType : uint8_t {
  kHello = 1,
  kHeartbeat,
  kView,
  kViewAck,
  kJoinRequest,
  kJoinOffer,
  kRefused,
  kBye,
  kSyncRequest,
  kSyncChunk,
  kSyncAck,
  kBatch,
  kMessage,
};

struct FrameHeader {
  uint8_t version = kFrameVersion;
  FrameType type = FrameType::kHello;
  uint64_t from_incarnation = 0;
  uint64_t to_incarnation = 0;
};

// The first word on a link, and again whenever the other seems not to know us.
struct Hello {
  uint8_t version_min = kFrameVersionMin;
  uint8_t version_max = kFrameVersion;
  // From the lowest byte: the newest version of what messages carry (ClusterOptions::content) that
  // is spoken, the oldest. 0, of nodes that say none: 1 alone. The rest is free.
  uint64_t features = 0;
  bool answer = false;  // the other shall say Hello too
  uint64_t known = 0;   // the highest incarnation of the receiver that we have met
  MemberView view;
};

// What one node says of the others.
struct Report {
  std::string node;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;
  std::vector<std::string> sees;    // ascending
  std::vector<std::string> absent;  // stopped in order, or nobody is there

  bool operator==(const Report&) const = default;
};

struct TableMark {
  uint32_t table = 0;
  uint64_t sequence = 0;
  uint64_t count = 0;
  Digest digest;
};

struct Heartbeat {
  uint64_t stamp = 0;  // the sender's monotonic clock; comes back as an echo
  uint64_t echo = 0;   // the last stamp that the sender has of the receiver
  uint64_t view_hash = 0;
  std::vector<Report> reports;    // the sender's own is the first
  std::vector<TableMark> tables;  // of the sender's own records
};

struct ViewFrame {
  uint64_t operation = 0;  // 0: no acknowledgement is wanted
  MemberView view;
};
struct ViewAck {
  uint64_t operation = 0;
};
struct JoinRequest {
  uint64_t operation = 0;
  MemberView view;
};
struct JoinOffer {
  uint64_t operation = 0;
  MemberView view;
};
struct Refused {
  uint64_t operation = 0;  // 0: the link as a whole
  std::string_view reason;
};
struct Bye {};  // stopping in order

struct SyncRequest {
  uint32_t table = 0;
  uint64_t request = 0;
};
struct SyncChunk {
  uint32_t table = 0;
  uint64_t request = 0;
  uint32_t index = 0;
  bool last = false;
  uint64_t sequence = 0;             // of the owner's batches, as of this chunk
  Digest digest;                     // of all its records, in the last chunk
  std::span<const uint8_t> records;  // puts
};
struct SyncAck {
  uint32_t table = 0;
  uint64_t request = 0;
  uint32_t index = 0;
};
struct Batch {
  uint32_t table = 0;
  uint64_t sequence = 0;
  std::span<const uint8_t> records;  // puts and deletions
};
struct Message {
  uint32_t channel = 0;
  std::span<const uint8_t> bytes;
};

using FrameBody = std::variant<Hello, Heartbeat, ViewFrame, ViewAck, JoinRequest, JoinOffer,
                               Refused, Bye, SyncRequest, SyncChunk, SyncAck, Batch, Message>;
struct Frame {
  FrameHeader header;
  FrameBody body;
};

// Nothing of a malformed frame is used; the error says what is wrong with it.
std::expected<Frame, std::string_view> DecodeFrame(std::span<const uint8_t> bytes);
std::vector<uint8_t> EncodeFrame(const FrameHeader& header, const FrameBody& body);
// In a frame that is sent to several.
void SetReceiver(std::vector<uint8_t>& frame, uint64_t to_incarnation);

// One change of a record as it stands in chunks and batches.
struct RecordOp {
  bool put = false;  // else a deletion: only the key
  std::string_view key;
  size_t group_bytes = 0;
  std::string_view value;
  uint64_t stamp = 0;
};
size_t EncodedBytes(const RecordOp& op);
void AppendOp(std::vector<uint8_t>* out, const RecordOp& op);
// All are judged before the first is visited; false: malformed, and nothing was visited.
bool ForEachOp(std::span<const uint8_t> records, const std::function<void(const RecordOp&)>& visit);

}  // namespace server
