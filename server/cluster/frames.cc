#include "server/cluster/frames.h"

#include <algorithm>
#include <map>
#include <utility>

#include "net/base/byte_reader.h"
#include "net/base/byte_writer.h"
#include "net/base/check.h"

namespace server {
namespace {

using Bytes = std::vector<uint8_t>;

std::string_view TextOf(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// --- reports: names once, then bit sets
// ------------------------------------------------------------

class NameTable {
 public:
  size_t Index(const std::string& name) {
    const auto [it, fresh] = index_.try_emplace(name, names_.size());
    if (fresh) names_.push_back(&it->first);
    return it->second;
  }
  void AppendTo(Bytes* out) const {
    net::AppendNumber(out, names_.size(), 2);
    for (const std::string* name : names_) {
      net::AppendNumber(out, name->size(), 1);
      net::AppendBytes(out, net::BytesOf(*name));
    }
  }

 private:
  std::map<std::string, size_t> index_;
  std::vector<const std::string*> names_;
};

void AppendNames(Bytes* out, NameTable& names, const std::vector<std::string>& list) {
  net::AppendNumber(out, list.size(), 1);
  for (const std::string& name : list) net::AppendNumber(out, names.Index(name), 2);
}

void AppendReports(Bytes* out, const std::vector<Report>& reports) {
  NameTable names;
  Bytes body;
  net::AppendNumber(&body, reports.size(), 1);
  for (const Report& report : reports) {
    net::AppendNumber(&body, names.Index(report.node), 2);
    net::AppendNumber(&body, report.incarnation, 8);
    net::AppendNumber(&body, report.sequence, 8);
    AppendNames(&body, names, report.sees);
    AppendNames(&body, names, report.absent);
  }
  names.AppendTo(out);
  net::AppendBytes(out, body);
}

void Spoil(net::ByteReader& reader) { reader.Take(SIZE_MAX); }

std::vector<std::string> ReadNames(net::ByteReader& reader, const std::vector<std::string>& names) {
  std::vector<std::string> out;
  const size_t count = reader.Number(1);
  if (count > kMembersMax) Spoil(reader);
  for (size_t i = 0; i < count && reader.ok(); ++i) {
    const size_t index = reader.Number(2);
    if (index >= names.size()) {
      Spoil(reader);
    } else {
      out.push_back(names[index]);
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Report> ReadReports(net::ByteReader& reader) {
  std::vector<std::string> names;
  const size_t name_count = reader.Number(2);
  // Reports may name members of views that are about to be merged.
  if (name_count > 2 * kMembersMax) Spoil(reader);
  for (size_t i = 0; i < name_count && reader.ok(); ++i) {
    names.emplace_back(TextOf(reader.Vector(1)));
    if (!IsNodeName(names.back())) Spoil(reader);
  }
  std::vector<Report> reports;
  const size_t count = reader.Number(1);
  if (count > kMembersMax) Spoil(reader);
  for (size_t i = 0; i < count && reader.ok(); ++i) {
    Report report;
    const size_t node = reader.Number(2);
    if (node >= names.size()) {
      Spoil(reader);
      break;
    }
    report.node = names[node];
    report.incarnation = reader.Number(8);
    report.sequence = reader.Number(8);
    report.sees = ReadNames(reader, names);
    report.absent = ReadNames(reader, names);
    reports.push_back(std::move(report));
  }
  return reports;
}

void AppendDigest(Bytes* out, const Digest& digest) {
  net::AppendNumber(out, digest.a, 8);
  net::AppendNumber(out, digest.b, 8);
}

Digest ReadDigest(net::ByteReader& reader) {
  const uint64_t a = reader.Number(8);
  return {a, reader.Number(8)};
}

// --- bodies
// ----------------------------------------------------------------------------------------

void Append(Bytes* out, const Hello& hello) {
  net::AppendNumber(out, hello.version_min, 1);
  net::AppendNumber(out, hello.version_max, 1);
  net::AppendNumber(out, hello.features, 8);
  net::AppendNumber(out, hello.answer ? 1 : 0, 1);
  net::AppendNumber(out, hello.known, 8);
  hello.view.AppendTo(out);
}

Hello ReadHello(net::ByteReader& reader) {
  Hello hello;
  hello.version_min = static_cast<uint8_t>(reader.Number(1));
  hello.version_max = static_cast<uint8_t>(reader.Number(1));
  hello.features = reader.Number(8);
  hello.answer = reader.Number(1) != 0;
  hello.known = reader.Number(8);
  hello.view = MemberView::Read(reader);
  return hello;
}

void Append(Bytes* out, const Heartbeat& beat) {
  net::AppendNumber(out, beat.stamp, 8);
  net::AppendNumber(out, beat.echo, 8);
  net::AppendNumber(out, beat.view_hash, 8);
  AppendReports(out, beat.reports);
  net::AppendNumber(out, beat.tables.size(), 1);
  for (const TableMark& mark : beat.tables) {
    net::AppendNumber(out, mark.table, 4);
    net::AppendNumber(out, mark.sequence, 8);
    net::AppendNumber(out, mark.count, 8);
    AppendDigest(out, mark.digest);
  }
}

Heartbeat ReadHeartbeat(net::ByteReader& reader) {
  Heartbeat beat;
  beat.stamp = reader.Number(8);
  beat.echo = reader.Number(8);
  beat.view_hash = reader.Number(8);
  beat.reports = ReadReports(reader);
  const size_t tables = reader.Number(1);
  if (tables > kTablesMax) Spoil(reader);
  for (size_t i = 0; i < tables && reader.ok(); ++i) {
    TableMark mark;
    mark.table = static_cast<uint32_t>(reader.Number(4));
    mark.sequence = reader.Number(8);
    mark.count = reader.Number(8);
    mark.digest = ReadDigest(reader);
    beat.tables.push_back(mark);
  }
  return beat;
}

// ViewFrame, JoinRequest and JoinOffer.
template <typename WithView>
void AppendView(Bytes* out, const WithView& body) {
  net::AppendNumber(out, body.operation, 8);
  body.view.AppendTo(out);
}
void Append(Bytes* out, const ViewFrame& body) { AppendView(out, body); }
void Append(Bytes* out, const JoinRequest& body) { AppendView(out, body); }
void Append(Bytes* out, const JoinOffer& body) { AppendView(out, body); }

template <typename WithView>
WithView ReadView(net::ByteReader& reader) {
  WithView body;
  body.operation = reader.Number(8);
  body.view = MemberView::Read(reader);
  return body;
}

void Append(Bytes* out, const ViewAck& body) { net::AppendNumber(out, body.operation, 8); }
void Append(Bytes* out, const Refused& body) {
  net::AppendNumber(out, body.operation, 8);
  const net::Sized sized(out, 2);
  net::AppendBytes(out, net::BytesOf(body.reason.substr(0, kReasonMax)));
}
void Append(Bytes*, const Bye&) {}

Refused ReadRefused(net::ByteReader& reader) {
  Refused body;
  body.operation = reader.Number(8);
  body.reason = TextOf(reader.Vector(2));
  if (body.reason.size() > kReasonMax) Spoil(reader);
  return body;
}

void Append(Bytes* out, const SyncRequest& body) {
  net::AppendNumber(out, body.table, 4);
  net::AppendNumber(out, body.request, 8);
}
void Append(Bytes* out, const SyncChunk& body) {
  net::AppendNumber(out, body.table, 4);
  net::AppendNumber(out, body.request, 8);
  net::AppendNumber(out, body.index, 4);
  net::AppendNumber(out, body.last ? 1 : 0, 1);
  net::AppendNumber(out, body.sequence, 8);
  AppendDigest(out, body.digest);
  net::AppendBytes(out, body.records);
}
void Append(Bytes* out, const SyncAck& body) {
  net::AppendNumber(out, body.table, 4);
  net::AppendNumber(out, body.request, 8);
  net::AppendNumber(out, body.index, 4);
}
void Append(Bytes* out, const Batch& body) {
  net::AppendNumber(out, body.table, 4);
  net::AppendNumber(out, body.sequence, 8);
  net::AppendBytes(out, body.records);
}
void Append(Bytes* out, const Message& body) {
  net::AppendNumber(out, body.channel, 4);
  net::AppendBytes(out, body.bytes);
}

// The order of the fields is the order of the braces: initializers are evaluated left to right.
SyncRequest ReadSyncRequest(net::ByteReader& reader) {
  return {static_cast<uint32_t>(reader.Number(4)), reader.Number(8)};
}
SyncChunk ReadSyncChunk(net::ByteReader& reader, std::span<const uint8_t> all) {
  SyncChunk body{static_cast<uint32_t>(reader.Number(4)),
                 reader.Number(8),
                 static_cast<uint32_t>(reader.Number(4)),
                 reader.Number(1) != 0,
                 reader.Number(8),
                 ReadDigest(reader),
                 {}};
  constexpr size_t kFields = 4 + 8 + 4 + 1 + 8 + 16;
  body.records = reader.Take(all.size() >= kFields ? all.size() - kFields : 0);
  return body;
}
SyncAck ReadSyncAck(net::ByteReader& reader) {
  return {static_cast<uint32_t>(reader.Number(4)), reader.Number(8),
          static_cast<uint32_t>(reader.Number(4))};
}
Batch ReadBatch(net::ByteReader& reader, std::span<const uint8_t> all) {
  Batch body{static_cast<uint32_t>(reader.Number(4)), reader.Number(8), {}};
  body.records = reader.Take(all.size() >= 12 ? all.size() - 12 : 0);
  return body;
}
Message ReadMessage(net::ByteReader& reader, std::span<const uint8_t> all) {
  Message body{static_cast<uint32_t>(reader.Number(4)), {}};
  body.bytes = reader.Take(all.size() >= 4 ? all.size() - 4 : 0);
  return body;
}

std::expected<FrameBody, std::string_view> ReadBody(FrameType type, net::ByteReader& reader,
                                                    std::span<const uint8_t> all) {
  switch (type) {
    case FrameType::kHello:
      return ReadHello(reader);
    case FrameType::kHeartbeat:
      return ReadHeartbeat(reader);
    case FrameType::kView:
      return ReadView<ViewFrame>(reader);
    case FrameType::kViewAck:
      return ViewAck{reader.Number(8)};
    case FrameType::kJoinRequest:
      return ReadView<JoinRequest>(reader);
    case FrameType::kJoinOffer:
      return ReadView<JoinOffer>(reader);
    case FrameType::kRefused:
      return ReadRefused(reader);
    case FrameType::kBye:
      return Bye{};
    case FrameType::kSyncRequest:
      return ReadSyncRequest(reader);
    case FrameType::kSyncChunk:
      return ReadSyncChunk(reader, all);
    case FrameType::kSyncAck:
      return ReadSyncAck(reader);
    case FrameType::kBatch:
      return ReadBatch(reader, all);
    case FrameType::kMessage:
      return ReadMessage(reader, all);
  }
  return std::unexpected("a type of frame that is not known");
}

FrameType TypeOf(const FrameBody& body) {
  // The variant's order is the order of the types.
  static_assert(std::variant_size_v<FrameBody> == static_cast<size_t>(FrameType::kMessage));
  return static_cast<FrameType>(body.index() + 1);
}

bool JudgeOp(net::ByteReader& reader, RecordOp& op) {
  const size_t kind = reader.Number(1);
  op.put = kind == 1;
  op.key = TextOf(reader.Vector(2));
  if (kind > 1 || op.key.empty() || op.key.size() > kKeyBytesMax) return false;
  if (!op.put) return reader.ok();
  op.group_bytes = reader.Number(2);
  op.stamp = reader.Number(8);
  op.value = TextOf(reader.Vector(2));
  return reader.ok() && op.group_bytes <= op.key.size() && op.value.size() <= kValueBytesMax;
}

}  // namespace

std::expected<Frame, std::string_view> DecodeFrame(std::span<const uint8_t> bytes) {
  if (bytes.size() > kFrameBytesMax) return std::unexpected("a frame above the largest size");
  net::ByteReader reader(bytes);
  Frame frame;
  frame.header.version = static_cast<uint8_t>(reader.Number(1));
  frame.header.type = static_cast<FrameType>(reader.Number(1));
  frame.header.from_incarnation = reader.Number(8);
  frame.header.to_incarnation = reader.Number(8);
  if (!reader.ok()) return std::unexpected("a frame shorter than its header");
  // A Hello tells which versions its sender speaks, so it is read whatever its own version.
  if (frame.header.version != kFrameVersion && frame.header.type != FrameType::kHello) {
    return std::unexpected("a frame of a version that is not spoken here");
  }
  auto body = ReadBody(frame.header.type, reader, bytes.subspan(kFrameHeaderBytes));
  if (!body) return std::unexpected(body.error());
  if (!reader.ok()) return std::unexpected("a field that does not fit its frame");
  // A later version's Hello may be longer.
  if (!reader.empty() && frame.header.version == kFrameVersion) {
    return std::unexpected("bytes behind the last field");
  }
  frame.body = std::move(*body);
  return frame;
}

std::vector<uint8_t> EncodeFrame(const FrameHeader& header, const FrameBody& body) {
  std::vector<uint8_t> out;
  net::AppendNumber(&out, header.version, 1);
  net::AppendNumber(&out, static_cast<size_t>(TypeOf(body)), 1);
  net::AppendNumber(&out, header.from_incarnation, 8);
  net::AppendNumber(&out, header.to_incarnation, 8);
  std::visit([&out](const auto& value) { Append(&out, value); }, body);
  CHECK(out.size() <= kFrameBytesMax);
  return out;
}

void SetReceiver(std::vector<uint8_t>& frame, uint64_t to_incarnation) {
  for (size_t i = 0; i < 8; ++i) {
    frame[10 + i] = static_cast<uint8_t>(to_incarnation >> (8 * (7 - i)));
  }
}

size_t EncodedBytes(const RecordOp& op) {
  return op.put ? 15 + op.key.size() + op.value.size() : 3 + op.key.size();
}

void AppendOp(std::vector<uint8_t>* out, const RecordOp& op) {
  net::AppendNumber(out, op.put ? 1 : 0, 1);
  net::AppendNumber(out, op.key.size(), 2);
  net::AppendBytes(out, net::BytesOf(op.key));
  if (!op.put) return;
  net::AppendNumber(out, op.group_bytes, 2);
  net::AppendNumber(out, op.stamp, 8);
  net::AppendNumber(out, op.value.size(), 2);
  net::AppendBytes(out, net::BytesOf(op.value));
}

bool ForEachOp(std::span<const uint8_t> records,
               const std::function<void(const RecordOp&)>& visit) {
  for (net::ByteReader reader(records); !reader.empty();) {
    RecordOp op;
    if (!JudgeOp(reader, op)) return false;
  }
  for (net::ByteReader reader(records); !reader.empty();) {
    RecordOp op;
    JudgeOp(reader, op);
    visit(op);
  }
  return true;
}

}  // namespace server
