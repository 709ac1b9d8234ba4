// Our record layer beside a live OpenSSL that has the same keys: both get the same records, good
// and hostile ones in random order. Ours must never accept what OpenSSL refuses, and must give out
// the same plaintext as long as both accept.
#include <gtest/gtest.h>
#include <openssl/err.h>

#include <optional>
#include <random>

#include "net/base/check.h"
#include "net/tls/record/tls_capture.h"
#include "net/tls/record/tls_record_layer.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_peer.h"

namespace net {
namespace {

struct Verdicts {
  int sequences = 0;
  int both_open = 0;
  int both_failed = 0;
  int stricter = 0;  // ours refused, OpenSSL went on
};

class TlsDifferential : public testing::TestWithParam<const char*> {
 protected:
  TlsDifferential() : certificate_({}) {
    auto pool = TlsRecordPool::Create();
    CHECK(pool.has_value());
    pool_ = std::move(*pool);
    server_context_ = NewTlsContext(TLS_server_method());
    SSL_CTX_use_certificate(server_context_, certificate_.x509());
    SSL_CTX_use_PrivateKey(server_context_, certificate_.key());
    SSL_CTX_set_num_tickets(server_context_, 1);
    client_context_ = SSL_CTX_new(TLS_client_method());
    CHECK(SSL_CTX_set_ciphersuites(client_context_, GetParam()) == 1);
  }
  ~TlsDifferential() override {
    SSL_CTX_free(server_context_);
    SSL_CTX_free(client_context_);
  }
  static TlsSuite Suite() {
    std::string_view name = GetParam();
    if (name == "TLS_AES_128_GCM_SHA256") return TlsSuite::kAes128GcmSha256;
    if (name == "TLS_AES_256_GCM_SHA384") return TlsSuite::kAes256GcmSha384;
    return TlsSuite::kChaCha20Poly1305Sha256;
  }
  size_t Pick(size_t low, size_t high) { return low + random_() % (high - low + 1); }

  // One record as a hostile peer could make it; keeps the sender's key in step.
  Bytes NextRecord(TlsRecordState* sender) {
    static const std::vector<Bytes> kMessages = {{24, 0, 0, 1, 0}, {24, 0, 0, 1, 1},
                                                 {24, 0, 0, 1, 2}, {24, 0, 0, 2, 0, 0},
                                                 {24, 0, 0, 0},    {24, 0, 0},
                                                 {4, 0, 0, 1, 0},  {1, 0, 0, 0},
                                                 {11, 0, 0, 0},    {24, 0, 0, 1, 0, 24, 0, 0, 1, 0},
                                                 {0, 0, 0, 0}};
    size_t kind = Pick(0, 99);
    if (kind < 50) return Sealed(sender, 23, Bytes(Pick(0, 3) == 0 ? 0 : Pick(1, 300), 'x'));
    if (kind < 58) return Sealed(sender, 23, Bytes(Pick(1, 16'384), 'y'));
    if (kind < 70) {
      Bytes record = Sealed(sender, 22, kMessages[Pick(0, 1)]);
      CHECK(NextTlsKey(*pool_, sender->suite, &sender->tx));
      return record;
    }
    if (kind < 78) return Sealed(sender, 22, kMessages[Pick(0, kMessages.size() - 1)]);
    if (kind < 82) return Sealed(sender, 21, {1, static_cast<uint8_t>(Pick(0, 1) == 0 ? 0 : 90)});
    if (kind < 85) return Sealed(sender, 21, Bytes(Pick(0, 3), 1));
    if (kind < 88) return Sealed(sender, static_cast<int>(Pick(0, 255)), {1, 2, 3});
    if (kind < 91) {
      Bytes record = Sealed(sender, 23, Bytes(Pick(1, 100), 'z'));
      record[Pick(0, record.size() - 1)] ^= static_cast<uint8_t>(1 << Pick(0, 7));
      return record;
    }
    if (kind < 94) {
      Bytes plain = {static_cast<uint8_t>(Pick(20, 24)), 3, 3, 0, 2, 1, 1};
      return plain;
    }
    if (kind < 97) {
      Bytes two = Sealed(sender, 23, {1});
      Bytes again = two;
      two.insert(two.end(), again.begin(), again.end());
      return two;
    }
    Sealed(sender, 23, {1});  // lost
    return Sealed(sender, 23, {2});
  }
  Bytes Sealed(TlsRecordState* sender, int type, const Bytes& content) {
    size_t padding = Pick(0, 3) == 0 && content.size() < 16'000 ? Pick(1, 300) : 0;
    Bytes out(content.size() + padding + kTlsRecordOverhead);
    std::span<const uint8_t> part(content);
    TlsInput input(std::span(&part, 1));
    CHECK(SealTlsRecord(*pool_, sender, static_cast<TlsContentType>(type), &input, content.size(),
                        padding, out) == out.size());
    return out;
  }

  void RunSequence(Verdicts* verdicts) {
    OpenSslPeer server(server_context_, true);
    OpenSslPeer client(client_context_, false);
    TlsCapture capture;
    SetTlsCapture(server.ssl(), &capture);
    std::optional<TlsOverhear> secrets(&capture);
    client.Handshake();
    server.Give(client.Take());
    server.Handshake();
    client.Give(server.Take());
    ASSERT_EQ(client.Handshake(), 1);
    server.Give(client.Take());
    ASSERT_EQ(server.Handshake(), 1);
    secrets.reset();
    std::span<const uint8_t> from_client(capture.client_secret.data(), capture.client_bytes);
    std::span<const uint8_t> from_server(capture.server_secret.data(), capture.server_bytes);
    TlsRecordLayer ours;
    ASSERT_TRUE(ours.Start(*pool_, Suite(), false, from_client, from_server, 0, capture.tx_records,
                           kTlsMaxPlaintext));
    TlsRecordState sender;
    ASSERT_TRUE(StartTlsRecords(*pool_, Suite(), true, from_server, from_client, &sender));
    SetTlsCapture(server.ssl(), nullptr);
    Compare(server, ours, &sender, verdicts);
    ours.End(*pool_);
    ERR_clear_error();
  }

  void Compare(OpenSslPeer& theirs, TlsRecordLayer& ours, TlsRecordState* sender, Verdicts* verdicts) {
    ++verdicts->sequences;
    for (size_t i = Pick(1, 12); i-- > 0;) {
      Bytes record = NextRecord(sender);
      theirs.Give(record);
      Bytes their_plain = theirs.Read();
      bool they_failed = theirs.read_error() == SSL_ERROR_SSL;
      bool they_closed = theirs.read_error() == SSL_ERROR_ZERO_RETURN;
      TlsPlaintext plain;
      TlsRecordStatus status = ours.Feed(*pool_, record, &plain);
      Bytes our_plain;
      for (std::span<uint8_t> span : plain.view()) {
        our_plain.insert(our_plain.end(), span.begin(), span.end());
      }
      if (they_failed) {
        ASSERT_EQ(status, TlsRecordStatus::kFailed)
            << "more lenient than OpenSSL: " << ERR_reason_error_string(ERR_peek_last_error());
        ++verdicts->both_failed;
        return;
      }
      if (status == TlsRecordStatus::kFailed) {
        ++verdicts->stricter;
        return;
      }
      ASSERT_EQ(our_plain, their_plain);
      ASSERT_EQ(status == TlsRecordStatus::kPeerClosed, they_closed);
      if (they_closed) break;
      Bytes out(256);
      ours.Flush(*pool_, out);
    }
    ++verdicts->both_open;
  }

  TestCertificate certificate_;
  std::unique_ptr<TlsRecordPool> pool_;
  SSL_CTX* server_context_ = nullptr;
  SSL_CTX* client_context_ = nullptr;
  std::mt19937 random_{1234};
};

TEST_P(TlsDifferential, NeverMoreLenientThanOpenSsl) {
  Verdicts verdicts;
  for (int i = 0; i < 700 && !HasFatalFailure(); ++i) RunSequence(&verdicts);
  // The comparison saw every outcome, so it compared something.
  EXPECT_EQ(verdicts.sequences, 700);
  EXPECT_GT(verdicts.both_open, 100);
  EXPECT_GT(verdicts.both_failed, 100);
  RecordProperty("stricter", verdicts.stricter);
}

INSTANTIATE_TEST_SUITE_P(Suites, TlsDifferential,
                         testing::Values("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                         "TLS_CHACHA20_POLY1305_SHA256"),
                         [](const auto& suite) { return std::string(suite.param); });

}  // namespace
}  // namespace net
