// The client's second flight, played by a client that holds the right keys and does what it likes:
// what is accepted, which alert the rest gets, and that OpenSSL is nowhere stricter.
#include <gmock/gmock.h>

#include "tests/net/tls_handshake_peer.h"

namespace net {
namespace {

constexpr uint8_t kNoAlert = 255;

Bytes Concat(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) AddBytes(&all, part);
  return all;
}
Bytes Repeat(size_t count, const Bytes& part) {
  Bytes all;
  for (size_t i = 0; i < count; ++i) AddBytes(&all, part);
  return all;
}
Bytes Slice(const Bytes& all, size_t from, size_t to) {
  return Bytes(all.begin() + static_cast<long>(from), all.begin() + static_cast<long>(to));
}
const Bytes kChange = {20, 3, 3, 0, 1, 1};

struct Script {
  const char* name;
  uint8_t alert;  // what the server answers; kNoAlert when it accepts or the client ended it
  bool accepted;
  std::function<Bytes(HandClient&)> play;
  friend void PrintTo(const Script& script, std::ostream* out) { *out << script.name; }
};

class TlsSecondFlight : public testing::TestWithParam<Script>, public TlsHandshakeFixture {
 protected:
  struct Result {
    bool open = false;
    int alert = kNoAlert;
    std::string error;
  };
  Result Run(const std::shared_ptr<const TlsServerContext>& context, size_t piece,
             const char* suite) {
    SSL_CTX* client_context = ClientCtx();
    CHECK(SSL_CTX_set_ciphersuites(client_context, suite) == 1);
    HandClient client(client_context, worker_->records());
    const Bytes hello = client.Hello();
    server_ = worker_->NewServer(context);
    FeedAll(*server_, hello);
    EXPECT_TRUE(client.Answer(FlushAll(*server_)));
    FeedAll(*server_, GetParam().play(client), piece);
    Result result;
    result.open = server_->state() == TlsState::kOpen;
    result.error = server_->ErrorText();
    Bytes wire = FlushAll(*server_);
    ERR_clear_error();
    if (result.open || wire.empty()) return result;
    const OpenedRecord opened = client.Open(&wire);
    EXPECT_EQ(opened.error, TlsAlert::kNone) << "not under the server's application key";
    EXPECT_EQ(opened.type, 21);
    EXPECT_EQ(opened.content.size(), 2u);
    if (opened.content.size() == 2) {
      EXPECT_EQ(opened.content[0], 2) << "fatal";
      result.alert = opened.content[1];
    }
    EXPECT_TRUE(wire.empty()) << "and nothing after it";
    return result;
  }
};

TEST_P(TlsSecondFlight, IsAnsweredAsItShouldBeAndOpenSslIsNoStricter) {
  TlsServerOptions options = Options();
  const auto context = Server(options);
  const auto by_openssl = ByOpenSsl(options);
  for (const char* suite :
       {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
    SCOPED_TRACE(suite);
    const Result theirs = Run(by_openssl, SIZE_MAX, suite);
    const uint64_t failed = worker_->counters().handshakes_failed;
    for (const size_t piece : {SIZE_MAX, size_t{1}, size_t{9}, size_t{64}}) {
      SCOPED_TRACE(piece);
      const Result own = Run(context, piece, suite);
      EXPECT_EQ(own.open, GetParam().accepted) << own.error;
      EXPECT_EQ(own.alert, GetParam().alert) << own.error;
      EXPECT_EQ(own.error.empty(), GetParam().accepted);
      EXPECT_TRUE(theirs.open || !own.open) << "OpenSSL says: " << theirs.error;
    }
    server_.reset();
    EXPECT_EQ(worker_->counters().handshakes_failed, failed + (GetParam().accepted ? 0 : 4));
  }
  EXPECT_EQ(declined(), declined(TlsDecline::kOff));
  EXPECT_EQ(worker_->handshaking(), 0u);
}

// --- what is accepted -------------------------------------------------------------------------

const Script kAccepted[] = {
    {"TheFinished", kNoAlert, true, [](auto& c) { return c.Seal(22, c.finished()); }},
    {"TheFinishedWithPadding", kNoAlert, true,
     [](auto& c) { return c.Seal(22, c.finished(), 4000); }},
    {"OneChangeCipherSpecBefore", kNoAlert, true,
     [](auto& c) { return Concat({kChange, c.Seal(22, c.finished())}); }},
    {"ThirtyTwoChangeCipherSpecs", kNoAlert, true,
     [](auto& c) { return Concat({Repeat(32, kChange), c.Seal(22, c.finished())}); }},
    {"TheFinishedInTwoRecords", kNoAlert, true,
     [](auto& c) {
       const Bytes& all = c.finished();
       return Concat({c.Seal(22, Slice(all, 0, 10)), c.Seal(22, Slice(all, 10, all.size()))});
     }},
    {"TheFinishedInRecordsOfOneByte", kNoAlert, true,
     [](auto& c) {
       Bytes wire;
       for (const uint8_t byte : c.finished()) AddBytes(&wire, c.Seal(22, {byte}, byte % 5));
       return wire;
     }},
    {"DataBehindTheFinished", kNoAlert, true,
     [](auto& c) { return Concat({c.Seal(22, c.finished()), c.SealData(ToBytes("data"))}); }},
};

INSTANTIATE_TEST_SUITE_P(Accepted, TlsSecondFlight, testing::ValuesIn(kAccepted),
                         [](const auto& one) { return std::string(one.param.name); });

// --- change_cipher_spec -----------------------------------------------------------------------

const Script kChanges[] = {
    {"OneTooMany", 10, false,
     [](auto& c) { return Concat({Repeat(33, kChange), c.Seal(22, c.finished())}); }},
    {"OfAnotherValue", 10, false, [](auto&) { return Record(20, Bytes{2}); }},
    {"OfTwoBytes", 10, false, [](auto&) { return Record(20, Bytes{1, 1}); }},
    {"Empty", 10, false, [](auto&) { return Record(20, Bytes{}); }},
    {"WithinTheFinished", 10, false,
     [](auto& c) {
       const Bytes& all = c.finished();
       return Concat(
           {c.Seal(22, Slice(all, 0, 1)), kChange, c.Seal(22, Slice(all, 1, all.size()))});
     }},
    {"Encrypted", 10, false,
     [](auto& c) { return Concat({c.Seal(20, {1}), c.Seal(22, c.finished())}); }},
    {"OfAnOldVersion", 50, false,
     [](auto& c) { return Concat({Record(20, Bytes{1}, 0x0301), c.Seal(22, c.finished())}); }},
};

INSTANTIATE_TEST_SUITE_P(ChangeCipherSpec, TlsSecondFlight, testing::ValuesIn(kChanges),
                         [](const auto& one) { return std::string(one.param.name); });

// --- a Finished that is none ------------------------------------------------------------------

const Script kFinisheds[] = {
    {"WithAWrongProof", 51, false,
     [](auto& c) {
       Bytes wrong = c.finished();
       wrong.back() ^= 1;
       return c.Seal(22, wrong);
     }},
    {"WithAProofOfZeros", 51, false,
     [](auto& c) {
       Bytes wrong = c.finished();
       std::fill(wrong.begin() + 4, wrong.end(), uint8_t{0});
       return c.Seal(22, wrong);
     }},
    {"WithAByteMoreInItsRecord", 10, false,
     [](auto& c) { return c.Seal(22, Concat({c.finished(), {0}})); }},
    {"WithAMessageBehindItInItsRecord", 10, false,
     [](auto& c) { return c.Seal(22, Concat({c.finished(), {24, 0, 0, 1, 0}})); }},
    {"Twice", 10, false, [](auto& c) { return c.Seal(22, Concat({c.finished(), c.finished()})); }},
    {"WithAShorterLength", 50, false,
     [](auto& c) {
       Bytes shorter = Slice(c.finished(), 0, c.finished().size() - 1);
       --shorter[3];
       return c.Seal(22, shorter);
     }},
    {"WithALongerLength", 50, false,
     [](auto& c) {
       Bytes longer = Concat({c.finished(), {0}});
       ++longer[3];
       return c.Seal(22, longer);
     }},
    {"WithAHugeLength", 50, false, [](auto& c) { return c.Seal(22, {20, 0xff, 0xff, 0xff}); }},
    {"OfAnotherType", 10, false,
     [](auto& c) {
       Bytes other = c.finished();
       other[0] = 15;
       return c.Seal(22, other);
     }},
    {"AKeyUpdate", 10, false,
     [](auto& c) { return Concat({c.Seal(22, {24, 0, 0, 1, 0}), c.Seal(22, c.finished())}); }},
    {"AnEmptyCertificate", 10, false,
     [](auto& c) {
       return Concat({c.Seal(22, {11, 0, 0, 4, 0, 0, 0, 0}), c.Seal(22, c.finished())});
     }},
    {"EndOfEarlyData", 10, false,
     [](auto& c) { return Concat({c.Seal(22, {5, 0, 0, 0}), c.Seal(22, c.finished())}); }},
    {"InTheClear", 10, false, [](auto& c) { return Record(22, c.finished()); }},
    {"AnEmptyRecordBefore", 10, false,
     [](auto& c) { return Concat({c.Seal(22, {}), c.Seal(22, c.finished())}); }},
    {"AnEmptyRecordWithin", 10, false,
     [](auto& c) { return Concat({c.Seal(22, Slice(c.finished(), 0, 5)), c.Seal(22, {}, 9)}); }},
};

INSTANTIATE_TEST_SUITE_P(Finished, TlsSecondFlight, testing::ValuesIn(kFinisheds),
                         [](const auto& one) { return std::string(one.param.name); });

// --- records ----------------------------------------------------------------------------------

const Script kRecords[] = {
    {"DataBefore", 10, false,
     [](auto& c) { return Concat({c.Seal(23, ToBytes("x")), c.Seal(22, c.finished())}); }},
    {"DataUnderTheNextKey", 20, false, [](auto& c) { return c.SealData(ToBytes("early")); }},
    {"EmptyDataBefore", 10, false,
     [](auto& c) { return Concat({c.Seal(23, {}), c.Seal(22, c.finished())}); }},
    {"DataWithinTheFinished", 10, false,
     [](auto& c) { return Concat({c.Seal(22, Slice(c.finished(), 0, 5)), c.Seal(23, {1})}); }},
    {"AnUnknownTypeInside", 10, false, [](auto& c) { return c.Seal(99, {1, 2, 3}); }},
    {"AHeartbeatInside", 10, false, [](auto& c) { return c.Seal(24, {1, 2, 3}); }},
    {"AnUnknownTypeOutside", 10, false, [](auto&) { return Record(99, Bytes{1, 2}); }},
    {"AnotherHello", 10, false, [](auto&) { return Record(22, Bytes{1, 0, 0, 2, 3, 3}, 0x0301); }},
    {"OnlyPadding", 10, false, [](auto& c) { return c.Seal(0, Bytes(10, 0)); }},
    {"AFlippedBitInTheContent", 20, false,
     [](auto& c) {
       Bytes record = c.Seal(22, c.finished());
       record[20] ^= 0x10;
       return record;
     }},
    {"AFlippedBitInTheTag", 20, false,
     [](auto& c) {
       Bytes record = c.Seal(22, c.finished());
       record.back() ^= 0x80;
       return record;
     }},
    {"TheSecondRecordOfTheKeyFirst", 20, false,
     [](auto& c) {
       c.Seal(22, c.finished());
       return c.Seal(22, c.finished());
     }},
    {"TheSameRecordTwiceWithinTheFinished", 20, false,
     [](auto& c) {
       const Bytes one = c.Seal(22, Slice(c.finished(), 0, 4));
       return Concat({one, one});
     }},
    {"ALengthAboveTheLimit", 22, false, [](auto&) { return Bytes{23, 3, 3, 0x41, 0x01}; }},
    {"AChangeCipherSpecAboveTheLimit", 22, false,
     [](auto&) { return Bytes{20, 3, 3, 0xff, 0xff}; }},
    {"TheLongestLength", 20, false, [](auto&) { return Record(23, Bytes(kTlsMaxCiphertext, 5)); }},
    {"ARecordShorterThanItsTag", 20, false, [](auto&) { return Record(23, Bytes(15, 5)); }},
    {"AnEmptyRecord", 20, false, [](auto&) { return Record(23, Bytes{}); }},
    {"AnOldVersion", 50, false,
     [](auto& c) {
       Bytes record = c.Seal(22, c.finished());
       record[2] = 1;
       return record;
     }},
    {"AnUnknownVersion", 50, false,
     [](auto& c) {
       Bytes record = c.Seal(22, c.finished());
       record[1] = 4;
       return record;
     }},
};

INSTANTIATE_TEST_SUITE_P(Records, TlsSecondFlight, testing::ValuesIn(kRecords),
                         [](const auto& one) { return std::string(one.param.name); });

// --- alerts -----------------------------------------------------------------------------------

const Script kAlerts[] = {
    {"InTheClear", kNoAlert, false, [](auto&) { return Record(21, Bytes{2, 48}); }},
    {"Encrypted", kNoAlert, false, [](auto& c) { return c.Seal(21, {2, 42}); }},
    {"CloseNotify", kNoAlert, false, [](auto& c) { return c.Seal(21, {1, 0}); }},
    {"UserCanceled", kNoAlert, false,
     [](auto& c) { return Concat({c.Seal(21, {1, 90}), c.Seal(22, c.finished())}); }},
    {"InTheClearAndTooLong", 10, false, [](auto&) { return Record(21, Bytes{2, 48, 2, 48}); }},
    {"InTheClearAndTooShort", 10, false, [](auto&) { return Record(21, Bytes{2}); }},
    {"InTheClearAndEmpty", 10, false, [](auto&) { return Record(21, Bytes{}); }},
    {"EncryptedAndTooLong", 10, false, [](auto& c) { return c.Seal(21, {2, 42, 0}); }},
    {"EncryptedAndTooShort", 10, false, [](auto& c) { return c.Seal(21, {2}); }},
    {"EncryptedAndEmpty", 10, false, [](auto& c) { return c.Seal(21, {}); }},
    {"WithinTheFinished", kNoAlert, false,
     [](auto& c) { return Concat({c.Seal(22, Slice(c.finished(), 0, 5)), c.Seal(21, {2, 80})}); }},
};

INSTANTIATE_TEST_SUITE_P(Alerts, TlsSecondFlight, testing::ValuesIn(kAlerts),
                         [](const auto& one) { return std::string(one.param.name); });

// --- and what is said about it ----------------------------------------------------------------

class TlsSecondFlightTexts : public testing::Test, public TlsHandshakeFixture {
 protected:
  std::string ErrorAfter(const std::function<Bytes(HandClient&)>& play) {
    HandClient client(ClientCtx(), worker_->records());
    const Bytes hello = client.Hello();
    server_ = worker_->NewServer(context_);
    FeedAll(*server_, hello);
    EXPECT_TRUE(client.Answer(FlushAll(*server_)));
    FeedAll(*server_, play(client));
    EXPECT_EQ(server_->state(), TlsState::kFailed);
    return server_->ErrorText();
  }
  std::shared_ptr<const TlsServerContext> context_ = Server(Options());
};

TEST_F(TlsSecondFlightTexts, ErrorsSayWhatItWas) {
  EXPECT_EQ(ErrorAfter([](auto& c) { return c.Seal(21, {2, 42}); }), "peer sent alert 42");
  EXPECT_EQ(ErrorAfter([](auto&) { return Record(21, Bytes{2, 48}); }), "peer sent alert 48");
  EXPECT_EQ(ErrorAfter([](auto&) { return Record(23, Bytes(40, 1)); }), "bad_record_mac");
  EXPECT_EQ(ErrorAfter([](auto& c) { return c.Seal(23, {1}); }), "unexpected_message");
}

TEST_F(TlsSecondFlightTexts, AFinishedThatIsMostlyPaddingEndsAtTheLimitOfHandshakes) {
  const std::string error = ErrorAfter([](auto& c) {
    Bytes all;
    for (size_t i = 0; i < 20; ++i) {
      all = Concat({all, c.Seal(22, Slice(c.finished(), i, i + 1), 16'000)});
    }
    return all;
  });
  EXPECT_EQ(error, "the handshake is longer than 262144 bytes");
}

TEST_F(TlsSecondFlightTexts, AFailedHandshakeTakesNoMoreAndSaysNoMore) {
  ErrorAfter([](auto& c) { return c.Seal(23, {1}); });
  EXPECT_EQ(FlushAll(*server_).size(), kTlsRecordOverhead + 2);
  EXPECT_TRUE(server_->closed());
  for (int i = 0; i < 3; ++i) {
    TlsPlaintext plain;
    Bytes more(50, 23);
    const TlsFeed feed = server_->Feed(more, &plain);
    EXPECT_EQ(feed.consumed, more.size());
    EXPECT_EQ(feed.next, TlsNext::kOver);
    EXPECT_EQ(plain.bytes, 0u);
    EXPECT_FALSE(server_->wants_output());
  }
  EXPECT_EQ(server_->TakeFacts(), nullptr);
  EXPECT_EQ(worker_->counters().handshakes_failed, 1u);
}

}  // namespace
}  // namespace net
