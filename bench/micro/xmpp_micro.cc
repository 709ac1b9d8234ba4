// What the pure pieces of XMPP cost: a stream's parser, addresses, stanzas written, a SCRAM login
// without its password's keys being made, an IQ answered, a message to a room.
#include <benchmark/benchmark.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <memory>
#include <string>
#include <string_view>

#include "net/base/base64.h"
#include "net/base/check.h"
#include "net/base/clock.h"
#include "server/im/parcel.h"
#include "server/modules/disco.h"
#include "server/modules/ping.h"
#include "server/muc/room.h"
#include "server/sasl/scram.h"
#include "server/xmpp/stream_reader.h"
#include "tests/server/modules/store_fake.h"

namespace {

using namespace server;

constexpr std::string_view kOpening =
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams' to='example.org' version='1.0'>";
// A chat message as mobile clients send it, 413 bytes.
constexpr std::string_view kMessage =
    "<message to='juliet@example.org' type='chat' id='3e0f3b6c-5f7d-4c5d-9a57-2f0d6f4c1a11' "
    "xml:lang='en'><body>But soft, what light through yonder window breaks?</body>"
    "<active xmlns='http://jabber.org/protocol/chatstates'/>"
    "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>"
    "<origin-id xmlns='urn:xmpp:sid:0' id='3e0f3b6c-5f7d-4c5d-9a57-2f0d6f4c1a11'/></message>";

class TakesAll final : public StreamHost {
 public:
  size_t stanzas = 0;
  bool OnOpening(const StreamOpening&) override { return true; }
  bool OnStanza(Stanza& stanza) override {
    benchmark::DoNotOptimize(stanza);
    ++stanzas;
    return true;
  }
  void OnStreamEnd() override {}
};

// One message a read. With `rests` the parser goes away in between, as for idle clients.
void BM_ReadMessage(benchmark::State& state, bool rests) {
  const StreamLimits limits;
  TakesAll host;
  StreamReader reader(&host, &limits);
  reader.Feed(kOpening);
  for (auto _ : state) {
    reader.Feed(kMessage);
    if (rests) reader.Rest();
  }
  CHECK(host.stanzas == static_cast<size_t>(state.iterations()));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kMessage.size()));
}
BENCHMARK_CAPTURE(BM_ReadMessage, in_a_row, false);
BENCHMARK_CAPTURE(BM_ReadMessage, resting, true);

void BM_ReadOpening(benchmark::State& state) {
  const StreamLimits limits;
  for (auto _ : state) {
    TakesAll host;
    StreamReader reader(&host, &limits);
    benchmark::DoNotOptimize(reader.Feed(kOpening));
  }
}
BENCHMARK(BM_ReadOpening);

void BM_ParseStanza(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(ParseStanza(kMessage, kClientSpace));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kMessage.size()));
}
BENCHMARK(BM_ParseStanza);

void BM_WriteStanza(benchmark::State& state) {
  const Stanza stanza = ParseStanza(kMessage, kClientSpace).value();
  std::string out;
  for (auto _ : state) {
    out.clear();
    stanza.AppendTo(out, kClientSpace, {.from = "romeo@example.org/orchard"});
    benchmark::DoNotOptimize(out);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(out.size()));
}
BENCHMARK(BM_WriteStanza);

// As it goes to each of those who get it: the content is written already.
void BM_WriteParcel(benchmark::State& state) {
  const Stanza stanza = ParseStanza(kMessage, kClientSpace).value();
  std::string content;
  for (XmlElement child = stanza.root().FirstChild(); child; child = child.Next()) {
    child.AppendTo(content, kClientSpace);
  }
  const Parcel parcel{.kind = StanzaKind::kMessage,
                      .type = StanzaType::kChat,
                      .traits = {},
                      .from = Jid::Parse("romeo@example.org/orchard").value(),
                      .to = Jid::Parse("juliet@example.org").value(),
                      .id = "3e0f3b6c-5f7d-4c5d-9a57-2f0d6f4c1a11",
                      .lang = "en",
                      .content = std::make_shared<const std::string>(content),
                      .mark = {},
                      .iq_name = {},
                      .iq_space = {}};
  for (auto _ : state) {
    std::string out;
    AppendParcelTo(out, parcel, "juliet@example.org/balcony");
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK(BM_WriteParcel);

void BM_ParseJid(benchmark::State& state, const char* text) {
  for (auto _ : state) benchmark::DoNotOptimize(Jid::Parse(text));
}
BENCHMARK_CAPTURE(BM_ParseJid, ascii, "juliet@example.org/balcony");
BENCHMARK_CAPTURE(BM_ParseJid, unicode, "\xc3\x89lo\xc3\xafse@example.org/balc\xc3\xb3n");

// --- SCRAM: what a login costs the server, whose keys are stored.

const EVP_MD* Digest(ScramHash hash) {
  switch (hash) {
    case ScramHash::kSha1:
      return EVP_sha1();
    case ScramHash::kSha256:
      return EVP_sha256();
    case ScramHash::kSha512:
      return EVP_sha512();
  }
  return nullptr;
}

std::string Hmac(const EVP_MD* digest, std::string_view key, std::string_view text) {
  std::string out(static_cast<size_t>(EVP_MD_get_size(digest)), '\0');
  HMAC(digest, key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(),
       reinterpret_cast<unsigned char*>(out.data()), nullptr);
  return out;
}

// The client's last message (RFC 5802 section 3), made once: nonces are given.
std::string FinalMessage(ScramHash hash, const ScramKeys& keys, std::string_view password,
                         const std::string& first_bare, const std::string& challenge,
                         const std::string& nonce) {
  const EVP_MD* digest = Digest(hash);
  std::string salted(static_cast<size_t>(EVP_MD_get_size(digest)), '\0');
  PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()),
                    reinterpret_cast<const unsigned char*>(keys.salt.data()),
                    static_cast<int>(keys.salt.size()), static_cast<int>(keys.iterations), digest,
                    static_cast<int>(salted.size()),
                    reinterpret_cast<unsigned char*>(salted.data()));
  const std::string client_key = Hmac(digest, salted, "Client Key");
  const std::string without_proof = "c=" + net::Base64Encode("n,,") + ",r=" + nonce;
  std::string proof =
      Hmac(digest, keys.stored_key, first_bare + "," + challenge + "," + without_proof);
  for (size_t i = 0; i < proof.size(); ++i) {
    proof[i] = static_cast<char>(proof[i] ^ client_key[i]);
  }
  return without_proof + ",p=" + net::Base64Encode(proof);
}

void BM_ScramLogin(benchmark::State& state, ScramHash hash) {
  const std::string password = "a password of people";
  const ScramKeys keys =
      MakeScramKeys(hash, password, "sixteen bytes ...", kScramIterations).value();
  const ChannelBindings bindings;
  const std::string nonce = "rOprNGfwEbeRWgbNEkqO";
  const std::string first_bare = "n=romeo,r=fyko+d2lbbFgONRv9qkxdawL";
  std::string final_message;
  for (auto _ : state) {
    ScramServer scram({.hash = hash, .plus = false, .plus_was_offered = false, .nonce = nonce},
                      &bindings);
    benchmark::DoNotOptimize(scram.ReadFirst("n,," + first_bare));
    const std::string challenge = scram.Challenge(keys, true);
    if (final_message.empty()) {
      const size_t at = challenge.find("r=") + 2;
      final_message = FinalMessage(hash, keys, password, first_bare, challenge,
                                   challenge.substr(at, challenge.find(',', at) - at));
    }
    CHECK(scram.ReadFinal(final_message).has_value());
  }
}
BENCHMARK_CAPTURE(BM_ScramLogin, sha1, ScramHash::kSha1);
BENCHMARK_CAPTURE(BM_ScramLogin, sha256, ScramHash::kSha256);
BENCHMARK_CAPTURE(BM_ScramLogin, sha512, ScramHash::kSha512);

// What PLAIN, a new password and an attacker's guess cost.
void BM_ScramKeys(benchmark::State& state, ScramHash hash) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        MakeScramKeys(hash, "a password of people", "sixteen bytes ...", kScramIterations));
  }
}
BENCHMARK_CAPTURE(BM_ScramKeys, sha1, ScramHash::kSha1)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_ScramKeys, sha256, ScramHash::kSha256)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_ScramKeys, sha512, ScramHash::kSha512)->Unit(benchmark::kMillisecond);

// --- IQ: from the table to the answer.

void BM_Iq(benchmark::State& state, const char* name, const char* space) {
  net::SystemClock clock;
  StoreFake store;
  ModuleGround ground{.store = store,
                      .clock = clock,
                      .unix_us = [] { return int64_t{0}; },
                      .domains = {"example.org"}};
  IqTable table;
  AddPing(table, ground, {});
  AddDisco(table, ground, {});
  const std::string xml = "<" + std::string(name) + " xmlns='" + space + "'/>";
  const Parcel request{.kind = StanzaKind::kIq,
                       .type = StanzaType::kGet,
                       .traits = {},
                       .from = Jid::Parse("romeo@example.org/orchard").value(),
                       .to = Jid::Parse("example.org").value(),
                       .id = "1",
                       .lang = {},
                       .content = std::make_shared<const std::string>(xml),
                       .mark = {},
                       .iq_name = name,
                       .iq_space = space};
  for (auto _ : state) {
    const IqHandler* handler = table.Find(IqTarget::kServer, name, space);
    (*handler)(IqCall(request, IqTarget::kServer, {}, nullptr,
                      [](StanzaType, std::string content) { benchmark::DoNotOptimize(content); }));
  }
}
BENCHMARK_CAPTURE(BM_Iq, ping, "ping", "urn:xmpp:ping");
BENCHMARK_CAPTURE(BM_Iq, disco_info, "query", "http://jabber.org/protocol/disco#info");

// A message to a room of so many: what the room does for it, and with the stanza that each of the
// occupants' sessions is written.
void BM_RoomMessage(benchmark::State& state, bool written) {
  const RoomGround ground{.limits = {},
                          .unix_us = [] { return int64_t{1'800'000'000'000'000}; },
                          .random = [at = uint64_t{0}]() mutable { return ++at; },
                          .next_id = [id = uint64_t{256}]() mutable { return ++id; }};
  const Jid jid = *Jid::Parse("coven@conference.example.org");
  Room room(jid, ground, {}, "secret");
  const auto occupants = static_cast<size_t>(state.range(0));
  for (size_t i = 0; i < occupants; ++i) {
    const std::string name = "user" + std::to_string(i);
    Parcel presence = RoomStanza(StanzaKind::kPresence, StanzaType::kAvailable,
                                 *Jid::Parse(name + "@example.org/phone"),
                                 "<x xmlns='http://jabber.org/protocol/muc'/>");
    presence.to = *jid.With(name);
    benchmark::DoNotOptimize(i == 0 ? room.Create(presence, false) : room.Arrive(presence));
  }
  Parcel message = RoomStanza(StanzaKind::kMessage, StanzaType::kGroupchat,
                              *Jid::Parse("user7@example.org/phone"),
                              "<body>But soft, what light through yonder window breaks?</body>");
  message.to = jid;
  message.traits.body = true;
  for (auto _ : state) {
    RoomOutputs out = room.Arrive(message);
    CHECK(out.stanzas.size() == 1 && out.stanzas[0].to.size() == occupants);
    if (!written) continue;
    for (Jid& to : out.stanzas[0].to) {
      Parcel parcel = out.stanzas[0].stanza;
      parcel.to = std::move(to);
      std::string xml;
      AppendParcel(xml, parcel);
      benchmark::DoNotOptimize(xml);
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK_CAPTURE(BM_RoomMessage, said, false)->Arg(10)->Arg(1'000);
BENCHMARK_CAPTURE(BM_RoomMessage, written_for_each, true)->Arg(10)->Arg(1'000);

}  // namespace

BENCHMARK_MAIN();
