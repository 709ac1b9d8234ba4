// The record layer against RFC 8448's bytes, and against itself: what a peer may and may not send.
#include "net/tls/record/tls_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "net/tls/record/tls_record_layer.h"
#include "tests/net/tls_test_peer.h"

namespace net {
namespace {

Bytes Hex(std::string_view text) {
  Bytes out;
  int high = -1;
  for (char c : text) {
    int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (v < 0) continue;
    if (high < 0) {
      high = v;
    } else {
      out.push_back(static_cast<uint8_t>(high << 4 | v));
      high = -1;
    }
  }
  return out;
}

std::unique_ptr<TlsRecordPool> NewPool() {
  auto pool = TlsRecordPool::Create();
  EXPECT_TRUE(pool.has_value());
  return std::move(*pool);
}

Bytes Seal(TlsRecordPool& pool, TlsRecordState* state, int type, const Bytes& plain,
           size_t padding = 0) {
  Bytes out(plain.size() + padding + kTlsRecordOverhead);
  std::span<const uint8_t> part(plain);
  TlsInput input(std::span(&part, 1));
  size_t n = SealTlsRecord(pool, state, static_cast<TlsContentType>(type), &input, plain.size(),
                           padding, out);
  EXPECT_EQ(n, out.size());
  return out;
}

Bytes Joined(const TlsPlaintext& plain) {
  Bytes all;
  for (std::span<uint8_t> span : plain.view()) all.insert(all.end(), span.begin(), span.end());
  EXPECT_EQ(all.size(), plain.bytes);
  return all;
}

// --- RFC 8448 section 3, "Simple 1-RTT Handshake" ---------------------------------------------

constexpr std::string_view kClientSecret =
    "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
constexpr std::string_view kServerSecret =
    "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
constexpr std::string_view kClientData =
    "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e"
    "2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4";
constexpr std::string_view kServerData =
    "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59"
    "a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d";
constexpr std::string_view kClientClose = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3";
constexpr std::string_view kServerClose = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9";

Bytes FiftyBytes() {
  Bytes plain(50);
  for (size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<uint8_t>(i);
  return plain;
}

TEST(TlsRecordRfc8448, KeysFollowFromTheTrafficSecrets) {
  auto pool = NewPool();
  TlsRecordState server;
  ASSERT_TRUE(StartTlsRecords(*pool, TlsSuite::kAes128GcmSha256, false, Hex(kClientSecret),
                              Hex(kServerSecret), &server));
  EXPECT_EQ(Bytes(server.tx.key.begin(), server.tx.key.begin() + 16),
            Hex("9f02283b6c9c07efc26bb9f2ac92e356"));
  EXPECT_EQ(Bytes(server.tx.iv.begin(), server.tx.iv.end()), Hex("cf782b88dd83549aadf1e984"));
  EXPECT_EQ(Bytes(server.rx.key.begin(), server.rx.key.begin() + 16),
            Hex("17422dda596ed5d9acd890e3c63f5051"));
  EXPECT_EQ(Bytes(server.rx.iv.begin(), server.rx.iv.end()), Hex("5b78923dee08579033e523d9"));
}

TEST(TlsRecordRfc8448, RecordsAreByteExactInBothDirections) {
  auto pool = NewPool();
  TlsRecordLayer server;
  TlsRecordLayer client;
  // The server's ticket was its record 0.
  ASSERT_TRUE(server.Start(*pool, TlsSuite::kAes128GcmSha256, false, Hex(kClientSecret),
                           Hex(kServerSecret), 0, 1, kTlsMaxPlaintext));
  ASSERT_TRUE(client.Start(*pool, TlsSuite::kAes128GcmSha256, true, Hex(kServerSecret),
                           Hex(kClientSecret), 1, 0, kTlsMaxPlaintext));
  Bytes fifty = FiftyBytes();
  std::span<const uint8_t> part(fifty);
  Bytes out(200);
  TlsSealed sealed = client.Write(*pool, std::span(&part, 1), out);
  EXPECT_EQ(Bytes(out.begin(), out.begin() + static_cast<long>(sealed.produced)), Hex(kClientData));
  sealed = server.Write(*pool, std::span(&part, 1), out);
  EXPECT_EQ(Bytes(out.begin(), out.begin() + static_cast<long>(sealed.produced)), Hex(kServerData));

  TlsPlaintext plain;
  Bytes wire = Hex(kClientData);
  EXPECT_EQ(server.Feed(*pool, wire, &plain), TlsRecordStatus::kOpen);
  EXPECT_EQ(Joined(plain), fifty);

  client.Close();
  size_t n = client.Flush(*pool, out);
  EXPECT_EQ(Bytes(out.begin(), out.begin() + static_cast<long>(n)), Hex(kClientClose));
  server.Close();
  n = server.Flush(*pool, out);
  EXPECT_EQ(Bytes(out.begin(), out.begin() + static_cast<long>(n)), Hex(kServerClose));
  wire = Hex(kClientClose);
  EXPECT_EQ(server.Feed(*pool, wire, &plain), TlsRecordStatus::kPeerClosed);
  EXPECT_EQ(plain.bytes, 0u);
}

// --- two ends of one connection ---------------------------------------------------------------

// The server is the layer under test; the client is a bare state that seals whatever it is told.
struct Ends {
  explicit Ends(TlsSuite suite) : pool(NewPool()) {
    Bytes to_server(TlsSecretBytes(suite), 0x11);
    Bytes to_client(TlsSecretBytes(suite), 0x22);
    EXPECT_TRUE(server.Start(*pool, suite, false, to_server, to_client, 0, 0, kTlsMaxPlaintext));
    EXPECT_TRUE(StartTlsRecords(*pool, suite, true, to_client, to_server, &client));
  }
  ~Ends() {
    server.End(*pool);
    EXPECT_EQ(pool->staging_in_use(), 0u);
  }
  Bytes Record(int type, const Bytes& content, size_t padding = 0) {
    return Seal(*pool, &client, type, content, padding);
  }
  TlsRecordStatus Feed(Bytes wire) {
    fed = std::move(wire);
    return server.Feed(*pool, fed, &plain);
  }
  void NextClientKey() { ASSERT_TRUE(NextTlsKey(*pool, client.suite, &client.tx)); }
  // What the server's pending output says, opened by the client: {type, bytes...} of each record.
  std::vector<Bytes> Flushed() {
    Bytes out(256);
    out.resize(server.Flush(*pool, out));
    return OpenAll(out);
  }
  std::vector<Bytes> OpenAll(Bytes wire) {
    std::vector<Bytes> records;
    std::span<uint8_t> rest(wire);
    while (rest.size() >= kTlsHeaderBytes) {
      size_t payload = static_cast<size_t>(rest[3]) << 8 | rest[4];
      std::span<uint8_t> body = rest.subspan(kTlsHeaderBytes, payload);
      TlsOpened opened = OpenTlsRecord(*pool, &client, rest.first<kTlsHeaderBytes>(), {}, body);
      EXPECT_EQ(opened.error, TlsAlert::kNone);
      if (opened.error != TlsAlert::kNone) break;
      Bytes record{opened.type};
      record.insert(record.end(), body.begin(), body.begin() + static_cast<long>(opened.length));
      if (opened.type == 22) {
        EXPECT_TRUE(NextTlsKey(*pool, client.suite, &client.rx));
      }
      records.push_back(std::move(record));
      rest = rest.subspan(kTlsHeaderBytes + payload);
    }
    return records;
  }

  std::unique_ptr<TlsRecordPool> pool;
  TlsRecordLayer server;
  TlsRecordState client;
  TlsPlaintext plain;
  Bytes fed;
};

class TlsRecordRules : public testing::TestWithParam<TlsSuite> {
 protected:
  // Feeds what `make` returns and expects the server to fail with `alert`, say so to the client in
  // a sealed fatal alert, and to keep no key.
  void ExpectRefused(TlsAlert alert, const std::function<Bytes(Ends&)>& make) {
    Ends ends(GetParam());
    EXPECT_EQ(ends.Feed(make(ends)), TlsRecordStatus::kFailed) << ToString(alert);
    EXPECT_EQ(ends.server.alert_sent(), alert) << ToString(ends.server.alert_sent());
    EXPECT_TRUE(ends.server.wants_output());
    std::vector<Bytes> flushed = ends.Flushed();
    ASSERT_FALSE(flushed.empty());
    EXPECT_EQ(flushed.back(), (Bytes{21, 2, static_cast<uint8_t>(alert)}));
    EXPECT_FALSE(ends.server.wants_output());
    const TlsRecordState& state = ends.server.state();
    EXPECT_THAT(state.rx.secret, testing::Each(0));
    EXPECT_THAT(state.tx.key, testing::Each(0));
    Bytes more(100);
    std::span<const uint8_t> part(more);
    Bytes out(200);
    EXPECT_EQ(ends.server.Write(*ends.pool, std::span(&part, 1), out).produced, 0u);
  }
};

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const Bytes kUpdate = {24, 0, 0, 1, 0};
const Bytes kUpdateRequested = {24, 0, 0, 1, 1};

TEST_P(TlsRecordRules, PlaintextRecordsAfterTheHandshakeAreUnexpected) {
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends&) { return Bytes{20, 3, 3, 0, 1, 1}; });
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends&) { return Bytes{21, 3, 3, 0, 2, 1, 0}; });
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends&) { return Bytes{22, 3, 1, 0, 9, 1}; });
}

TEST_P(TlsRecordRules, SizesOutsideTheLimitsAreRefusedBeforeTheBodyComes) {
  ExpectRefused(TlsAlert::kRecordOverflow, [](Ends&) { return Bytes{23, 3, 3, 0x41, 0x01}; });
  ExpectRefused(TlsAlert::kBadRecordMac, [](Ends&) { return Bytes{23, 3, 3, 0, 16}; });
  ExpectRefused(TlsAlert::kDecodeError, [](Ends&) { return Bytes{23, 3, 1, 0, 30}; });
}

TEST_P(TlsRecordRules, InnerPlaintextAboveTheLimitOverflows) {
  ExpectRefused(TlsAlert::kRecordOverflow, [](Ends& e) {
    e.client.max_plaintext = 16'500;  // a peer that does not keep to it, within TLSCiphertext's
    return e.Record(23, Bytes(100), 16'300);
  });
  ExpectRefused(TlsAlert::kRecordOverflow, [](Ends& e) {
    e.server.mutable_state_for_test().max_plaintext = 512;  // max_fragment_length
    return e.Record(23, Bytes(513, 'x'));
  });
}

TEST_P(TlsRecordRules, ForgedReplayedAndReorderedRecordsFailTheTag) {
  ExpectRefused(TlsAlert::kBadRecordMac, [](Ends& e) {
    Bytes record = e.Record(23, Bytes(40, 'x'));
    record[20] ^= 1;
    return record;
  });
  ExpectRefused(TlsAlert::kBadRecordMac, [](Ends& e) {
    Bytes record = e.Record(23, Bytes(40, 'x'));
    return record + record;
  });
  ExpectRefused(TlsAlert::kBadRecordMac, [](Ends& e) {
    Bytes lost = e.Record(23, Bytes(1));
    return e.Record(23, Bytes(2, 'y'));
  });
}

TEST_P(TlsRecordRules, UnverifiedPlaintextIsWiped) {
  Ends ends(GetParam());
  Bytes record = ends.Record(23, Bytes(3000, 'x'));
  record.back() ^= 1;
  Bytes head(record.begin(), record.begin() + 1000);
  Bytes tail(record.begin() + 1000, record.end());
  EXPECT_EQ(ends.Feed(head), TlsRecordStatus::kOpen);
  EXPECT_EQ(ends.Feed(tail), TlsRecordStatus::kFailed);
  EXPECT_EQ(ends.plain.bytes, 0u);
  EXPECT_THAT(ends.fed, testing::Each(0));
}

TEST_P(TlsRecordRules, WrongContentIsUnexpected) {
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends& e) { return e.Record(0, {}, 5); });
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends& e) { return e.Record(99, {1}); });
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends& e) { return e.Record(20, {1}); });
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends& e) { return e.Record(22, {}); });
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends& e) { return e.Record(21, {}); });
  ExpectRefused(TlsAlert::kDecodeError, [](Ends& e) { return e.Record(21, {1, 0, 0}); });
  ExpectRefused(TlsAlert::kDecodeError, [](Ends& e) { return e.Record(21, {1}); });
}

TEST_P(TlsRecordRules, OnlyKeyUpdateMayFollowTheHandshake) {
  for (uint8_t type : Bytes{1, 2, 4, 5, 11, 13, 15, 20}) {
    ExpectRefused(TlsAlert::kUnexpectedMessage,
                  [type](Ends& e) { return e.Record(22, {type, 0, 0, 1, 0}); });
  }
}

TEST_P(TlsRecordRules, MalformedKeyUpdatesAreRefused) {
  ExpectRefused(TlsAlert::kIllegalParameter,
                [](Ends& e) { return e.Record(22, {24, 0, 0, 1, 2}); });
  ExpectRefused(TlsAlert::kDecodeError, [](Ends& e) { return e.Record(22, {24, 0, 0, 2, 0, 0}); });
  ExpectRefused(TlsAlert::kDecodeError, [](Ends& e) { return e.Record(22, {24, 0, 0, 0}); });
  ExpectRefused(TlsAlert::kUnexpectedMessage,
                [](Ends& e) { return e.Record(22, kUpdate + kUpdate); });
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends& e) {
    Bytes begun = e.Record(22, {24, 0, 0});
    return begun + e.Record(23, {1});
  });
  ExpectRefused(TlsAlert::kBadRecordMac, [](Ends& e) {
    Bytes update = e.Record(22, kUpdate);
    return update + e.Record(23, {1});  // still under the old key
  });
}

TEST_P(TlsRecordRules, WorkWithoutDataIsLimited) {
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends& e) {
    Bytes wire;
    for (int i = 0; i < 33; ++i) wire = wire + e.Record(23, {});
    return wire;
  });
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends& e) {
    Bytes wire;
    for (int i = 0; i < 33; ++i) {
      wire = wire + e.Record(22, kUpdate);
      e.NextClientKey();
    }
    return wire;
  });
  ExpectRefused(TlsAlert::kUnexpectedMessage, [](Ends& e) {
    Bytes wire;
    for (int i = 0; i < 4; ++i) wire = wire + e.Record(21, {1, 90});
    return wire;
  });
  Ends ends(GetParam());  // data in between starts the count again
  for (int i = 0; i < 100; ++i) {
    Bytes wire = Cat({ends.Record(23, {}), ends.Record(22, kUpdate)});
    ends.NextClientKey();
    wire = wire + ends.Record(23, {7});
    ASSERT_EQ(ends.Feed(wire), TlsRecordStatus::kOpen);
    ASSERT_EQ(Joined(ends.plain), Bytes{7});
  }
}

TEST_P(TlsRecordRules, KeyUpdateMayComeInFragmentsWithPadding) {
  Ends ends(GetParam());
  for (size_t i = 0; i < kUpdateRequested.size(); ++i) {
    ASSERT_EQ(ends.Feed(ends.Record(22, {kUpdateRequested[i]}, i)), TlsRecordStatus::kOpen);
  }
  ends.NextClientKey();
  EXPECT_EQ(ends.Flushed(), std::vector<Bytes>{Bytes{22} + kUpdate});
  ASSERT_EQ(ends.Feed(ends.Record(23, Bytes(kTlsMaxPlaintext, 7))), TlsRecordStatus::kOpen);
  EXPECT_EQ(ends.plain.bytes, kTlsMaxPlaintext);
  ASSERT_EQ(ends.Feed(ends.Record(23, {7}, kTlsMaxPlaintext - 1)), TlsRecordStatus::kOpen);
  EXPECT_EQ(Joined(ends.plain), Bytes{7});
}

TEST_P(TlsRecordRules, SeveralRequestsAreAnsweredOnceAndBeforeData) {
  Ends ends(GetParam());
  Bytes wire;
  for (int i = 0; i < 3; ++i) {
    wire = wire + ends.Record(22, kUpdateRequested);
    ends.NextClientKey();
  }
  ASSERT_EQ(ends.Feed(wire), TlsRecordStatus::kOpen);
  Bytes data = {'h', 'i'};
  std::span<const uint8_t> part(data);
  Bytes out(200);
  TlsSealed sealed = ends.server.Write(*ends.pool, std::span(&part, 1), out);
  out.resize(sealed.produced);
  EXPECT_EQ(ends.OpenAll(out), (std::vector<Bytes>{Bytes{22} + kUpdate, Bytes{23, 'h', 'i'}}));
}

TEST_P(TlsRecordRules, PeersAlertsEndTheConnection) {
  {
    Ends ends(GetParam());
    EXPECT_EQ(ends.Feed(ends.Record(21, {1, 90})), TlsRecordStatus::kOpen);
    EXPECT_EQ(ends.Feed(ends.Record(21, {1, 0})), TlsRecordStatus::kPeerClosed);
    Bytes data = {'h', 'i'};  // half-closed: our direction goes on
    std::span<const uint8_t> part(data);
    Bytes out(200);
    EXPECT_EQ(ends.server.Write(*ends.pool, std::span(&part, 1), out).consumed, 2u);
  }
  Ends ends(GetParam());
  EXPECT_EQ(ends.Feed(ends.Record(21, {2, 40})), TlsRecordStatus::kFailed);
  EXPECT_EQ(ends.server.alert_received(), 40);
  EXPECT_EQ(ends.server.alert_sent(), TlsAlert::kNone);
  EXPECT_FALSE(ends.server.wants_output());
  EXPECT_THAT(ends.server.state().rx.key, testing::Each(0));
}

TEST_P(TlsRecordRules, NothingIsSealedAfterCloseNotify) {
  Ends ends(GetParam());
  ends.server.Close();
  Bytes data(100, 'x');
  std::span<const uint8_t> part(data);
  Bytes out(300);
  TlsSealed sealed = ends.server.Write(*ends.pool, std::span(&part, 1), out);
  EXPECT_EQ(sealed.consumed, 0u);
  out.resize(sealed.produced);
  EXPECT_EQ(ends.OpenAll(out), (std::vector<Bytes>{{21, 1, 0}}));
  EXPECT_TRUE(ends.server.close_sent());
  // Reading goes on: the peer's last words arrive.
  EXPECT_EQ(ends.Feed(Cat({ends.Record(23, {9}), ends.Record(21, {1, 0})})),
            TlsRecordStatus::kPeerClosed);
  EXPECT_EQ(Joined(ends.plain), Bytes{9});
}

TEST_P(TlsRecordRules, SequenceNumbersNeverWrap) {
  Ends ends(GetParam());
  ends.server.mutable_state_for_test().tx.seq = UINT64_MAX;
  Bytes data(10, 'x');
  std::span<const uint8_t> part(data);
  Bytes out(300);
  ends.pool->aes_gcm_records_per_key = UINT64_MAX;
  ends.server.Write(*ends.pool, std::span(&part, 1), out);
  EXPECT_EQ(ends.server.status(), TlsRecordStatus::kFailed);
}

TEST_P(TlsRecordRules, AesGcmKeysAreUpdatedAtTheirLimit) {
  Ends ends(GetParam());
  ends.pool->aes_gcm_records_per_key = 4;
  bool aes = GetParam() != TlsSuite::kChaCha20Poly1305Sha256;
  size_t updates = 0;
  for (int i = 0; i < 20; ++i) {
    Bytes data = {static_cast<uint8_t>(i)};
    std::span<const uint8_t> part(data);
    Bytes out(200);
    out.resize(ends.server.Write(*ends.pool, std::span(&part, 1), out).produced);
    std::vector<Bytes> records = ends.OpenAll(out);
    ASSERT_FALSE(records.empty());
    EXPECT_EQ(records.back(), (Bytes{23, static_cast<uint8_t>(i)}));
    updates += records.size() - 1;
  }
  EXPECT_EQ(updates, aes ? 4u : 0u);
}

TEST_P(TlsRecordRules, AnyCutOfAStreamGivesTheSameBytes) {
  std::mt19937 random(7);
  auto pick = [&random](size_t low, size_t high) { return low + random() % (high - low + 1); };
  for (int round = 0; round < 60; ++round) {
    Ends ends(GetParam());
    Bytes sent;
    Bytes wire;
    for (int i = 0; i < 12; ++i) {
      size_t padding = pick(0, 3) == 0 ? pick(1, 400) : 0;
      Bytes data(pick(0, 2) == 0 ? pick(1, kTlsMaxPlaintext - padding) : pick(1, 90));
      for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
      sent = sent + data;
      wire = wire + ends.Record(23, data, padding);
      if (pick(0, 3) == 0) {
        wire = wire + ends.Record(22, kUpdateRequested, pick(0, 30));
        ends.NextClientKey();
      }
    }
    Bytes got;
    for (size_t at = 0; at < wire.size();) {
      size_t cut = std::min(wire.size() - at, pick(0, 3) == 0 ? pick(1, 20) : pick(1, 20'000));
      Bytes piece(wire.begin() + static_cast<long>(at), wire.begin() + static_cast<long>(at + cut));
      ASSERT_EQ(ends.Feed(piece), TlsRecordStatus::kOpen);
      ASSERT_LE(ends.plain.count, TlsPlaintext::kMaxSpans);
      got = got + Joined(ends.plain);
      ends.Flushed();
      at += cut;
    }
    ASSERT_EQ(got, sent);
    ends.server.Release(*ends.pool);
    ASSERT_EQ(ends.pool->staging_in_use(), 0u);  // nothing stays for a connection at rest
  }
}

TEST_P(TlsRecordRules, WriteSealsScatteredInputIntoWhatFits) {
  std::mt19937 random(9);
  auto pick = [&random](size_t low, size_t high) { return low + random() % (high - low + 1); };
  for (int round = 0; round < 40; ++round) {
    Ends ends(GetParam());
    std::vector<Bytes> pieces(pick(1, 9));
    Bytes sent;
    for (Bytes& piece : pieces) {
      piece.resize(pick(0, 3) == 0 ? 0 : pick(1, 9000));
      for (uint8_t& byte : piece) byte = static_cast<uint8_t>(random());
      sent = sent + piece;
    }
    Bytes got;
    size_t consumed = 0;
    while (consumed < sent.size()) {
      std::vector<std::span<const uint8_t>> parts;
      size_t skip = consumed;
      for (const Bytes& piece : pieces) {
        size_t here = std::min(skip, piece.size());
        parts.push_back(std::span(piece).subspan(here));
        skip -= here;
      }
      Bytes out(pick(kTlsRecordOverhead + 1, 40'000));
      TlsSealed sealed = ends.server.Write(*ends.pool, parts, out);
      ASSERT_GT(sealed.consumed, 0u);
      consumed += sealed.consumed;
      out.resize(sealed.produced);
      for (const Bytes& record : ends.OpenAll(out)) {
        ASSERT_EQ(record[0], 23);
        got.insert(got.end(), record.begin() + 1, record.end());
      }
    }
    ASSERT_EQ(got, sent);
  }
}

TEST_P(TlsRecordRules, SealingInPlaceGivesTheSameRecord) {
  for (size_t size : {1u, 100u, 2048u, 5000u, 16384u}) {
    Ends a(GetParam());
    Ends b(GetParam());
    Bytes plain(size, 'p');
    Bytes expected = Seal(*a.pool, &a.client, 23, plain);
    Bytes buffer(size + kTlsRecordOverhead);
    std::copy(plain.begin(), plain.end(), buffer.begin() + kTlsHeaderBytes);
    std::span<const uint8_t> part(buffer.data() + kTlsHeaderBytes, size);
    TlsInput input(std::span(&part, 1));
    ASSERT_EQ(SealTlsRecord(*b.pool, &b.client, TlsContentType::kApplicationData, &input, size, 0,
                            buffer),
              buffer.size());
    EXPECT_EQ(buffer, expected);
  }
}

TEST_P(TlsRecordRules, ConnectionsThatShareThePoolDoNotDisturbEachOther) {
  auto pool = NewPool();
  Bytes one(TlsSecretBytes(GetParam()), 1);
  Bytes two(TlsSecretBytes(GetParam()), 2);
  TlsRecordState a_tx, a_rx, b_tx, b_rx;
  ASSERT_TRUE(StartTlsRecords(*pool, GetParam(), true, one, one, &a_tx));
  ASSERT_TRUE(StartTlsRecords(*pool, GetParam(), true, one, one, &a_rx));
  ASSERT_TRUE(StartTlsRecords(*pool, GetParam(), true, two, two, &b_tx));
  ASSERT_TRUE(StartTlsRecords(*pool, GetParam(), true, two, two, &b_rx));
  for (int i = 0; i < 20; ++i) {
    for (auto [tx, rx] : {std::pair(&a_tx, &a_rx), std::pair(&b_tx, &b_rx)}) {
      Bytes record = Seal(*pool, tx, 23, Bytes(64, 'z'));
      std::span<uint8_t> wire(record);
      TlsOpened opened =
          OpenTlsRecord(*pool, rx, wire.first<kTlsHeaderBytes>(), {}, wire.subspan(5));
      ASSERT_EQ(opened.error, TlsAlert::kNone);
    }
    if (i % 3 == 0) pool->EndTurn();
  }
}

INSTANTIATE_TEST_SUITE_P(Suites, TlsRecordRules,
                         testing::Values(TlsSuite::kAes128GcmSha256, TlsSuite::kAes256GcmSha384,
                                         TlsSuite::kChaCha20Poly1305Sha256),
                         [](const auto& suite) { return std::string(ToString(suite.param)); });

TEST(TlsRecordClient, TicketsFromTheServerArePassedOver) {
  auto pool = NewPool();
  Bytes secret(32, 3);
  TlsRecordLayer client;
  TlsRecordState server;
  TlsSuite suite = TlsSuite::kAes128GcmSha256;
  ASSERT_TRUE(client.Start(*pool, suite, true, secret, secret, 0, 0, kTlsMaxPlaintext));
  ASSERT_TRUE(StartTlsRecords(*pool, suite, false, secret, secret, &server));
  Bytes ticket = {4, 0, 1, 0};
  ticket.resize(4 + 256, 0xaa);
  Bytes both = ticket + ticket;
  Bytes wire = Cat({Seal(*pool, &server, 22, Bytes(both.begin(), both.begin() + 300)),
                    Seal(*pool, &server, 22, Bytes(both.begin() + 300, both.end())),
                    Seal(*pool, &server, 23, {'x'})});
  TlsPlaintext plain;
  EXPECT_EQ(client.Feed(*pool, wire, &plain), TlsRecordStatus::kOpen);
  EXPECT_EQ(Joined(plain), Bytes{'x'});
  // Inside a ticket nothing else may stand.
  wire = Cat({Seal(*pool, &server, 22, Bytes(both.begin(), both.begin() + 300)),
              Seal(*pool, &server, 23, {'x'})});
  EXPECT_EQ(client.Feed(*pool, wire, &plain), TlsRecordStatus::kFailed);
  EXPECT_EQ(client.alert_sent(), TlsAlert::kUnexpectedMessage);
  client.End(*pool);
}

TEST(TlsRecordPool, HeldBytesCostInProportionToWhatCame) {
  auto pool = NewPool();
  TlsStaging* small = pool->GetStaging(5);
  TlsStaging* large = pool->GetStaging(kTlsMaxRecordBytes);
  EXPECT_EQ(TlsRecordPool::StagingCapacity(*small), 512u);
  EXPECT_EQ(TlsRecordPool::StagingCapacity(*large), kTlsMaxRecordBytes);
  EXPECT_EQ(pool->staging_in_use(), 2u);
  pool->ReturnStaging(small);
  EXPECT_EQ(pool->GetStaging(100), small);  // reused
  pool->ReturnStaging(small);
  pool->ReturnStaging(large);
  EXPECT_EQ(pool->staging_in_use(), 0u);
}

}  // namespace
}  // namespace net
