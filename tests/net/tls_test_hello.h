// Hellos that can be taken apart and changed, and the client's side of the key schedule, so that
// they can be answered without a client. For tests and fuzz targets.
#pragma once

#include <openssl/evp.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "net/base/byte_reader.h"
#include "net/base/check.h"
#include "net/tls/record/tls_hkdf.h"
#include "net/tls/record/tls_record.h"
#include "tests/net/tls_test_peer.h"

namespace net {

inline void AddNumber(Bytes* out, size_t value, size_t size) {
  while (size-- > 0) out->push_back(static_cast<uint8_t>(value >> (8 * size)));
}
inline void AddBytes(Bytes* out, std::span<const uint8_t> bytes) {
  out->insert(out->end(), bytes.begin(), bytes.end());
}
inline void AddVector(Bytes* out, size_t length_size, std::span<const uint8_t> bytes) {
  AddNumber(out, bytes.size(), length_size);
  AddBytes(out, bytes);
}
inline Bytes Copy(std::span<const uint8_t> bytes) { return Bytes(bytes.begin(), bytes.end()); }

inline Bytes Record(uint8_t type, std::span<const uint8_t> content, uint16_t version = 0x0303) {
  Bytes record = {type};
  AddNumber(&record, version, 2);
  AddVector(&record, 2, content);
  return record;
}

// A ClientHello in pieces. Wire() puts it together again, with the lengths that follow.
struct HelloParts {
  struct Extension {
    size_t type = 0;
    Bytes body;
  };
  Bytes random;  // with the version before it
  Bytes session_id;
  Bytes suites;
  Bytes compression;
  std::vector<Extension> extensions;

  HelloParts() = default;
  // `record`: a whole one, with its header.
  explicit HelloParts(std::span<const uint8_t> record) {
    ByteReader reader(record.subspan(kTlsHeaderBytes + 4));
    random = Copy(reader.Take(34));
    session_id = Copy(reader.Vector(1));
    suites = Copy(reader.Vector(2));
    compression = Copy(reader.Vector(1));
    ByteReader list(reader.Vector(2));
    while (!list.empty()) {
      const size_t type = list.Number(2);
      extensions.push_back({type, Copy(list.Vector(2))});
    }
    CHECK(reader.done() && list.ok());
  }
  Bytes* Find(size_t type) {
    for (Extension& one : extensions) {
      if (one.type == type) return &one.body;
    }
    return nullptr;
  }
  void Remove(size_t type) {
    std::erase_if(extensions, [type](const Extension& one) { return one.type == type; });
  }
  // Puts it before all others, so that a pre-shared key stays the last.
  void Add(size_t type, Bytes body) {
    extensions.insert(extensions.begin(), {type, std::move(body)});
  }
  Bytes Message() const {
    Bytes list;
    for (const Extension& one : extensions) {
      AddNumber(&list, one.type, 2);
      AddVector(&list, 2, one.body);
    }
    Bytes body = random;
    AddVector(&body, 1, session_id);
    AddVector(&body, 2, suites);
    AddVector(&body, 1, compression);
    AddVector(&body, 2, list);
    Bytes message = {1};
    AddVector(&message, 3, body);
    return message;
  }
  Bytes Wire() const { return Record(22, Message(), 0x0301); }
};

// What a ServerHello in the clear says.
struct ServerHelloFacts {
  size_t suite = 0;
  size_t group = 0;
  Bytes share;
  std::optional<size_t> psk;  // the index that was taken
  Bytes message;
  Bytes rest;  // the records after it
};

// Nothing for an alert, a HelloRetryRequest, TLS 1.2, or no answer at all.
inline std::optional<ServerHelloFacts> ReadServerHello(const Bytes& wire) {
  ByteReader reader(wire);
  if (reader.Number(1) != 22) return {};
  reader.Take(2);
  ServerHelloFacts facts;
  facts.message = Copy(reader.Vector(2));
  if (!reader.ok()) return {};
  facts.rest =
      Bytes(wire.begin() + static_cast<long>(kTlsHeaderBytes + facts.message.size()), wire.end());
  ByteReader hello(facts.message);
  if (hello.Number(1) != 2) return {};
  hello.Take(3 + 2 + 32);
  hello.Vector(1);
  facts.suite = hello.Number(2);
  hello.Take(1);
  ByteReader extensions(hello.Vector(2));
  bool tls13 = false;
  while (!extensions.empty()) {
    const size_t type = extensions.Number(2);
    ByteReader body(extensions.Vector(2));
    if (type == 43) tls13 = true;
    if (type == 41) facts.psk = body.Number(2);
    if (type != 51) continue;
    facts.group = body.Number(2);
    facts.share = Copy(body.Vector(2));
  }
  if (!tls13 || facts.share.empty()) return {};
  return facts;
}

inline TlsSuite SuiteOf(size_t code) {
  CHECK(code >= 0x1301 && code <= 0x1303);
  return static_cast<TlsSuite>(code - 0x1301);
}
inline TlsDigest DigestOfSuite(TlsSuite suite) {
  return suite == TlsSuite::kAes256GcmSha384 ? TlsDigest::kSha384 : TlsDigest::kSha256;
}

// The client's key schedule as RFC 8446 section 7.1 has it, written down a second time.
class TestSchedule {
 public:
  explicit TestSchedule(TlsDigest digest) : digest_(digest) { CHECK(hkdf_.ok()); }

  Bytes Hash(std::initializer_list<std::span<const uint8_t>> parts) const {
    Bytes out(TlsHashBytes(digest_));
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    CHECK(EVP_DigestInit(context, digest_ == TlsDigest::kSha384 ? EVP_sha384() : EVP_sha256()));
    for (auto part : parts) EVP_DigestUpdate(context, part.data(), part.size());
    CHECK(EVP_DigestFinal(context, out.data(), nullptr) == 1);
    EVP_MD_CTX_free(context);
    return out;
  }
  Bytes Hmac(const Bytes& key, const Bytes& message) {
    Bytes out(TlsHashBytes(digest_));
    CHECK(hkdf_.Hmac(digest_, key, {message}, out));
    return out;
  }
  Bytes Expand(const Bytes& secret, std::string_view label, const Bytes& context) {
    Bytes out(TlsHashBytes(digest_));
    CHECK(hkdf_.ExpandLabel(digest_, secret, ToBytes("tls13 "), ToBytes(label), context, out));
    return out;
  }
  Bytes Early(const Bytes& psk) {
    const Bytes zeros(TlsHashBytes(digest_));
    return Hmac(zeros, psk.empty() ? zeros : psk);
  }
  Bytes Derived(const Bytes& secret) { return Expand(secret, "derived", Hash({})); }
  // The handshake secret; `psk` is empty for none.
  Bytes Handshake(const Bytes& psk, const Bytes& shared) {
    return Hmac(Derived(Early(psk)), shared);
  }
  Bytes Master(const Bytes& handshake) {
    return Hmac(Derived(handshake), Bytes(TlsHashBytes(digest_)));
  }
  // The Finished of who has this traffic secret.
  Bytes Finished(const Bytes& traffic, const Bytes& transcript_hash) {
    Bytes message = {20};
    AddVector(&message, 3, Hmac(Expand(traffic, "finished", {}), transcript_hash));
    return message;
  }
  Bytes Binder(const Bytes& psk, std::span<const uint8_t> truncated_hello) {
    const Bytes key = Expand(Early(psk), "res binder", Hash({}));
    return Hmac(Expand(key, "finished", {}), Hash({truncated_hello}));
  }

 private:
  TlsDigest digest_;
  TlsHkdf hkdf_;
};

// An X25519 key for hellos of which no client knows.
class TestKeyShare {
 public:
  TestKeyShare() : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519")), share_(32) {
    size_t size = share_.size();
    CHECK(EVP_PKEY_get_raw_public_key(key_, share_.data(), &size) == 1);
  }
  ~TestKeyShare() { EVP_PKEY_free(key_); }
  TestKeyShare(const TestKeyShare&) = delete;
  TestKeyShare& operator=(const TestKeyShare&) = delete;

  const Bytes& share() const { return share_; }
  Bytes SharedWith(const Bytes& theirs) const {
    EVP_PKEY* peer =
        EVP_PKEY_new_raw_public_key_ex(nullptr, "X25519", nullptr, theirs.data(), theirs.size());
    EVP_PKEY_CTX* derive = EVP_PKEY_CTX_new_from_pkey(nullptr, key_, nullptr);
    Bytes secret(32);
    size_t size = secret.size();
    CHECK(EVP_PKEY_derive_init(derive) == 1 && EVP_PKEY_derive_set_peer(derive, peer) == 1 &&
          EVP_PKEY_derive(derive, secret.data(), &size) == 1);
    EVP_PKEY_CTX_free(derive);
    EVP_PKEY_free(peer);
    return secret;
  }

 private:
  EVP_PKEY* key_;
  Bytes share_;
};

// Key share and binder of a hello made genuine again after a change. `psk`: of its one identity.
inline void UseShare(HelloParts* hello, const Bytes& share) {
  Bytes list = {0, 29};
  AddVector(&list, 2, share);
  Bytes body;
  AddVector(&body, 2, list);
  *hello->Find(51) = body;
}
inline void Rebind(HelloParts* hello, TlsDigest digest, const Bytes& psk) {
  const size_t size = TlsHashBytes(digest);
  Bytes message = hello->Message();
  Bytes* keys = &hello->extensions.back().body;
  CHECK(hello->extensions.back().type == 41 && keys->size() > size);
  ByteReader reader(*keys);
  const size_t identities = 2 + reader.Vector(2).size();
  const size_t from_end = keys->size() - identities;
  const Bytes binder =
      TestSchedule(digest).Binder(psk, std::span(message).first(message.size() - from_end));
  std::ranges::copy(binder, keys->end() - static_cast<long>(size));
}

struct OpenedRecord {
  TlsAlert error = TlsAlert::kNone;
  int type = 0;
  Bytes content;
};

// Takes one record from the front of `wire` and opens it.
inline OpenedRecord OpenNext(TlsRecordPool& pool, TlsRecordState* state, Bytes* wire) {
  OpenedRecord opened;
  CHECK(wire->size() >= kTlsHeaderBytes);
  const size_t size = static_cast<size_t>((*wire)[3]) << 8 | (*wire)[4];
  CHECK(wire->size() >= kTlsHeaderBytes + size);
  const std::span<uint8_t> record = std::span(*wire).first(kTlsHeaderBytes + size);
  const std::span<uint8_t> payload = record.subspan(kTlsHeaderBytes);
  const TlsOpened result = OpenTlsRecord(pool, state, record.first<kTlsHeaderBytes>(), payload, {});
  opened.error = result.error;
  opened.type = result.type;
  opened.content = Copy(payload.first(result.length));
  wire->erase(wire->begin(), wire->begin() + static_cast<long>(kTlsHeaderBytes + size));
  return opened;
}

inline Bytes SealRecord(TlsRecordPool& pool, TlsRecordState* state, int type, const Bytes& content,
                        size_t padding = 0) {
  Bytes out(content.size() + padding + kTlsRecordOverhead);
  std::span<const uint8_t> part(content);
  TlsInput input(std::span(&part, 1));
  CHECK(SealTlsRecord(pool, state, static_cast<TlsContentType>(type), &input, content.size(),
                      padding, out) == out.size());
  return out;
}

}  // namespace net
