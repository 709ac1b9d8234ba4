// Reading ClientHellos: real ones, and one test a rule. Each message lies in a buffer of its exact
// size, so that a read beyond it is found.
#include "net/tls/tls_hello.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <set>

#include "tests/net/tls_gnutls_hello.h"
#include "tests/net/tls_test_hello.h"

namespace net {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;
using testing::SizeIs;

// What OpenSSL sends.
Bytes OpenSslHello(const std::function<void(SSL*)>& prepare) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  Bytes hello;
  {
    OpenSslPeer client(context, false);
    prepare(client.ssl());
    client.Handshake();
    hello = client.Take();
  }
  SSL_CTX_free(context);
  return hello;
}

// A message in memory of its own, and what was read of it: views into that memory.
class Parsed {
 public:
  explicit Parsed(const Bytes& message)
      : memory_(new uint8_t[message.size()]), size_(message.size()) {
    std::ranges::copy(message, memory_.get());
    result_ = ParseTlsHello({memory_.get(), size_});
  }
  bool ok() const { return result_.has_value(); }
  const TlsHello& operator*() const { return *result_; }
  const TlsHello* operator->() const { return &*result_; }
  // As a text, so that a failure says it.
  std::string_view refused() const { return ok() ? "taken" : ToString(result_.error()); }

 private:
  std::unique_ptr<uint8_t[]> memory_;
  size_t size_;
  std::expected<TlsHello, TlsDecline> result_;
};

// A plain hello to begin with; each test breaks one thing.
class TlsHelloTest : public testing::Test {
 protected:
  TlsHelloTest() {
    hello_.random = {3, 3};
    hello_.random.resize(34, 0xaa);
    hello_.session_id = Bytes(32, 0xbb);
    hello_.suites = {0x13, 1, 0x13, 3};
    hello_.compression = {0};
    hello_.extensions = {
        {43, {4, 3, 4, 3, 3}}, {10, {0, 4, 0, 29, 0, 23}}, {13, {0, 4, 4, 3, 8, 4}}, {51, {}}};
    UseShare(&hello_, Bytes(32, 0xcc));
  }
  // Pre-shared keys with binders of these sizes.
  static Bytes Keys(const std::vector<Bytes>& identities, const std::vector<size_t>& binders) {
    Bytes first, second, body;
    for (const Bytes& identity : identities) {
      AddVector(&first, 2, identity);
      AddNumber(&first, 77, 4);
    }
    for (const size_t size : binders) AddVector(&second, 1, Bytes(size, 'b'));
    AddVector(&body, 2, first);
    AddVector(&body, 2, second);
    return body;
  }
  void AddKeys(const Bytes& body, const Bytes& modes = {1, 1}) {
    hello_.extensions.push_back({45, modes});
    hello_.extensions.push_back({41, body});
  }
  std::string_view Refused() const { return Parsed(hello_.Message()).refused(); }
  // With this body in place of the extension's, which is added when it is not there.
  std::string_view RefusedWith(size_t type, const Bytes& body) {
    const HelloParts before = hello_;
    if (Bytes* old = hello_.Find(type)) {
      *old = body;
    } else {
      hello_.Add(type, body);
    }
    const std::string_view reason = Refused();
    hello_ = before;
    return reason;
  }

  HelloParts hello_;
};

// --- real hellos ------------------------------------------------------------------------------

TEST_F(TlsHelloTest, OpenSslsAreReadRight) {
  const Bytes wire = OpenSslHello([](SSL* ssl) {
    std::string name = "chat.example.org";
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
    const Bytes alpn = ToBytes("\x0bxmpp-client\x02h2");
    SSL_set_alpn_protos(ssl, alpn.data(), static_cast<unsigned>(alpn.size()));
    SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
  });
  HelloParts parts(wire);
  EXPECT_EQ(parts.Wire(), wire) << "taken apart and put together it is the same";
  const Parsed hello(parts.Message());
  ASSERT_EQ(hello.refused(), "taken");
  EXPECT_EQ(hello->server_name, "chat.example.org");
  EXPECT_THAT(hello->session_id, ElementsAreArray(parts.session_id));
  EXPECT_THAT(hello->suites, ElementsAreArray(parts.suites));
  EXPECT_EQ(ToText(Copy(hello->alpn)), "\x0bxmpp-client\x02h2");
  EXPECT_TRUE(hello->wants_staple);
  EXPECT_TRUE(TlsHello::Has(hello->groups, 29));
  EXPECT_TRUE(TlsHello::Has(hello->groups, 23));
  EXPECT_TRUE(TlsHello::Has(hello->schemes, 0x0403));
  EXPECT_TRUE(TlsHello::Has(hello->schemes, 0x0804));
  const Bytes& share = *parts.Find(51);
  EXPECT_THAT(hello->x25519, ElementsAreArray(share.end() - 32, share.end()));
  EXPECT_THAT(hello->identities, IsEmpty());
  EXPECT_THAT(hello->binders, IsEmpty());
}

TEST_F(TlsHelloTest, GnuTlssAreReadRight) {
  const Bytes wire = GnuTlsHello("NORMAL", "chat.example.org");
  HelloParts parts(wire);
  const Parsed hello(parts.Message());
  ASSERT_EQ(hello.refused(), "taken");
  EXPECT_EQ(hello->server_name, "chat.example.org");
  EXPECT_TRUE(TlsHello::Has(hello->suites, 0x1301));
  EXPECT_TRUE(TlsHello::Has(hello->schemes, 0x0403));
  // Its share for P-256 stands before.
  const Bytes& shares = *parts.Find(51);
  EXPECT_GT(shares.size(), 2u + 4 + 65 + 4 + 31);
  EXPECT_THAT(hello->x25519, ElementsAreArray(shares.end() - 32, shares.end()));
}

TEST_F(TlsHelloTest, ThePlainestIsTaken) {
  const Parsed hello(hello_.Message());
  ASSERT_EQ(hello.refused(), "taken");
  EXPECT_EQ(hello->server_name, "");
  EXPECT_THAT(hello->alpn, IsEmpty());
  EXPECT_FALSE(hello->wants_staple);
  EXPECT_THAT(hello->x25519, Each(0xcc));
  EXPECT_THAT(hello->x25519, SizeIs(32));
  EXPECT_THAT(hello->suites, ElementsAre(0x13, 1, 0x13, 3));
  EXPECT_THAT(hello->groups, ElementsAre(0, 29, 0, 23));
  EXPECT_THAT(hello->schemes, ElementsAre(4, 3, 8, 4));
}

TEST_F(TlsHelloTest, UnknownExtensionsSayNothing) {
  for (const size_t type : {21u, 22u, 23u, 35u, 0x0a0au, 0xffffu}) {
    hello_.Add(type, Bytes(type % 7, 1));
  }
  EXPECT_EQ(Refused(), "taken");
}

TEST_F(TlsHelloTest, EveryShorterMessageIsRefused) {
  hello_.Add(0, {0, 4, 0, 0, 1, 'a'});
  AddKeys(Keys({Bytes(20, 'i')}, {32}));
  const Bytes message = hello_.Message();
  ASSERT_EQ(Parsed(message).refused(), "taken");
  for (size_t size = 0; size < message.size(); ++size) {
    const Bytes cut(message.begin(), message.begin() + static_cast<long>(size));
    EXPECT_EQ(Parsed(cut).refused(), "malformed") << size;
    if (size < 4) continue;
    // And when its own length says that it is whole.
    Bytes whole = cut;
    whole[1] = static_cast<uint8_t>((size - 4) >> 16);
    whole[2] = static_cast<uint8_t>((size - 4) >> 8);
    whole[3] = static_cast<uint8_t>(size - 4);
    EXPECT_NE(Parsed(whole).refused(), "taken") << size;
  }
}

TEST_F(TlsHelloTest, NoChangedByteMakesItReadBeyondItsEnd) {
  hello_.Add(0, {0, 4, 0, 0, 1, 'a'});
  hello_.Add(16, {0, 3, 2, 'h', '2'});
  hello_.Add(5, {1, 0, 0, 0, 0});
  AddKeys(Keys({Bytes(20, 'i'), Bytes(3, 'j')}, {32, 48}));
  const Bytes message = hello_.Message();
  std::set<std::string_view> outcomes;
  for (size_t at = 0; at < message.size(); ++at) {
    for (const unsigned value : {0u, 1u, 2u, 0x7fu, 0x80u, 0xffu}) {
      Bytes changed = message;
      changed[at] = static_cast<uint8_t>(value);
      outcomes.insert(Parsed(changed).refused());
    }
  }
  EXPECT_THAT(outcomes, testing::IsSupersetOf({"taken", "malformed", "version", "group"}));
}

// --- the message ------------------------------------------------------------------------------

TEST_F(TlsHelloTest, OfAnotherTypeOrLengthItIsMalformed) {
  Bytes message = hello_.Message();
  message[0] = 2;
  EXPECT_EQ(Parsed(message).refused(), "malformed");
  message = hello_.Message();
  message.push_back(0);
  EXPECT_EQ(Parsed(message).refused(), "malformed");
  ++message[3];  // now the byte belongs to it, behind the extensions
  EXPECT_EQ(Parsed(message).refused(), "malformed");
}

TEST_F(TlsHelloTest, TheLegacyVersionIsThatOfTls12) {
  for (const unsigned minor : {0u, 1u, 2u, 4u}) {
    hello_.random[1] = static_cast<uint8_t>(minor);
    EXPECT_EQ(Refused(), "version") << minor;
  }
}

TEST_F(TlsHelloTest, SessionIdsHaveUpTo32Bytes) {
  hello_.session_id = {};
  EXPECT_EQ(Refused(), "taken");
  hello_.session_id = Bytes(33, 1);
  EXPECT_EQ(Refused(), "malformed");
}

TEST_F(TlsHelloTest, SuitesArePairsAndThereIsOne) {
  hello_.suites = {};
  EXPECT_EQ(Refused(), "malformed");
  hello_.suites = {0x13, 1, 0x13};
  EXPECT_EQ(Refused(), "malformed");
}

TEST_F(TlsHelloTest, CompressionIsNoneAndNothingElse) {
  for (const Bytes& methods : {Bytes{}, Bytes{1}, Bytes{0, 0}, Bytes{1, 0}, Bytes{0, 1}}) {
    hello_.compression = methods;
    EXPECT_EQ(Refused(), "malformed") << testing::PrintToString(methods);
  }
}

TEST_F(TlsHelloTest, WithoutExtensionsItIsOfAnOlderVersion) {
  hello_.extensions.clear();
  EXPECT_EQ(Refused(), "version");
  Bytes message = hello_.Message();
  message.resize(message.size() - 2);  // not even their length
  message[3] = static_cast<uint8_t>(message.size() - 4);
  EXPECT_EQ(Parsed(message).refused(), "version");
}

// --- extensions -------------------------------------------------------------------------------

TEST_F(TlsHelloTest, NoExtensionComesTwice) {
  const std::vector<HelloParts::Extension> all = hello_.extensions;
  for (const HelloParts::Extension& one : all) {
    hello_.extensions = all;
    hello_.extensions.push_back(one);
    EXPECT_EQ(Refused(), "malformed") << one.type;
  }
  hello_.extensions = all;
  hello_.Add(0x0a0a, {});
  EXPECT_EQ(Refused(), "taken");
  hello_.Add(0x0a0a, {1});
  EXPECT_EQ(Refused(), "malformed") << "unknown ones neither";
}

TEST_F(TlsHelloTest, ThereAreAtMost64Extensions) {
  for (size_t type = 1000; hello_.extensions.size() < 64; ++type) hello_.Add(type, {});
  EXPECT_EQ(Refused(), "taken");
  hello_.Add(2000, {});
  EXPECT_EQ(Refused(), "malformed");
}

TEST_F(TlsHelloTest, ThatDoNotFillTheirListIsMalformed) {
  for (const int change : {-1, 1}) {
    Bytes message = hello_.Message();
    // The length of the last extension, the key share: 4 + 2 + 4 + 32 bytes before the end.
    uint8_t& length = message[message.size() - 39];
    ASSERT_EQ(length, 38);
    length = static_cast<uint8_t>(length + change);
    EXPECT_EQ(Parsed(message).refused(), "malformed");
  }
}

TEST_F(TlsHelloTest, SupportedVersionsNameTls13) {
  EXPECT_EQ(RefusedWith(43, {2, 3, 3}), "version");
  EXPECT_EQ(RefusedWith(43, {4, 0x0a, 0x0a, 3, 4}), "taken");
  for (const Bytes& body :
       {Bytes{}, Bytes{0}, Bytes{3, 3, 4, 0}, Bytes{2, 3, 4, 0}, Bytes{4, 3, 4}}) {
    EXPECT_NE(RefusedWith(43, body), "taken") << testing::PrintToString(body);
  }
  hello_.Remove(43);
  EXPECT_EQ(Refused(), "version");
}

TEST_F(TlsHelloTest, ListsOfPairsAreWholeAndNotEmpty) {
  for (const size_t type : {10u, 13u}) {
    for (const Bytes& body : {Bytes{}, Bytes{0}, Bytes{0, 0}, Bytes{0, 3, 0, 29, 0},
                              Bytes{0, 2, 0, 29, 0}, Bytes{0, 4, 0, 29}}) {
      EXPECT_EQ(RefusedWith(type, body), "malformed") << type << testing::PrintToString(body);
    }
  }
}

TEST_F(TlsHelloTest, ServerNamesAreOnePrintableHostName) {
  hello_.Add(0, {0, 6, 0, 0, 3, 'a', '.', 'b'});
  const Parsed hello(hello_.Message());
  ASSERT_TRUE(hello.ok());
  EXPECT_EQ(hello->server_name, "a.b");
  const Bytes bad[] = {{},
                       {0, 0},
                       {0, 3, 0, 0, 0},                      // empty name
                       {0, 6, 1, 0, 3, 'a', '.', 'b'},       // not a host name
                       {0, 5, 0, 0, 3, 'a', '.', 'b'},       // list ends early
                       {0, 7, 0, 0, 3, 'a', '.', 'b'},       // and late
                       {0, 6, 0, 0, 4, 'a', '.', 'b'},       // name ends late
                       {0, 6, 0, 0, 2, 'a', '.', 'b'},       // and early
                       {0, 6, 0, 0, 3, 'a', '.', 'b', 0},    // byte behind the list
                       {0, 6, 0, 0, 3, 'a', 0, 'b'},         // NUL
                       {0, 6, 0, 0, 3, 'a', ' ', 'b'},       // space
                       {0, 6, 0, 0, 3, 'a', '\n', 'b'},      // control
                       {0, 6, 0, 0, 3, 'a', 0x7f, 'b'},      // DEL
                       {0, 6, 0, 0, 3, 'a', 0xe9, 'b'},      // not ASCII
                       {0, 8, 0, 0, 1, 'a', 0, 0, 1, 'b'}};  // two
  for (const Bytes& body : bad) {
    EXPECT_EQ(RefusedWith(0, body), "malformed") << testing::PrintToString(body);
  }
  for (const size_t size : {255u, 256u}) {
    Bytes name = {0};
    AddVector(&name, 2, Bytes(size, 'a'));
    Bytes body;
    AddVector(&body, 2, name);
    EXPECT_EQ(RefusedWith(0, body), size == 255 ? "taken" : "malformed");
  }
}

TEST_F(TlsHelloTest, ProtocolsAreAListOfNamesNoneOfThemEmpty) {
  EXPECT_EQ(RefusedWith(16, {0, 5, 1, 'a', 2, 'h', '2'}), "taken");
  for (const Bytes& body :
       {Bytes{}, Bytes{0, 0}, Bytes{0, 1, 0}, Bytes{0, 3, 1, 'a', 0}, Bytes{0, 2, 2, 'a'},
        Bytes{0, 3, 1, 'a', 1}, Bytes{0, 2, 1, 'a', 0}, Bytes{0, 3, 1, 'a'}}) {
    EXPECT_EQ(RefusedWith(16, body), "malformed") << testing::PrintToString(body);
  }
}

TEST_F(TlsHelloTest, KeySharesHaveTheirGroupsSizeAndComeOnce) {
  auto body = [](const std::vector<std::pair<size_t, size_t>>& shares) {
    Bytes list, all;
    for (const auto& [group, size] : shares) {
      AddNumber(&list, group, 2);
      AddVector(&list, 2, Bytes(size, 0xcc));
    }
    AddVector(&all, 2, list);
    return all;
  };
  EXPECT_EQ(RefusedWith(51, body({{23, 65}, {29, 32}})), "taken");
  EXPECT_EQ(RefusedWith(51, body({{29, 32}, {23, 65}})), "taken");
  EXPECT_EQ(RefusedWith(51, body({{23, 65}})), "group");
  EXPECT_EQ(RefusedWith(51, body({})), "group") << "asks for a HelloRetryRequest";
  EXPECT_EQ(RefusedWith(51, body({{29, 31}})), "malformed");
  EXPECT_EQ(RefusedWith(51, body({{29, 33}})), "malformed");
  EXPECT_EQ(RefusedWith(51, body({{29, 0}})), "malformed");
  EXPECT_EQ(RefusedWith(51, body({{23, 0}, {29, 32}})), "malformed");
  EXPECT_EQ(RefusedWith(51, body({{29, 32}, {29, 32}})), "malformed");
  Bytes longer = body({{29, 32}});
  longer.push_back(0);
  EXPECT_EQ(RefusedWith(51, longer), "malformed");
  Bytes shorter = body({{29, 32}});
  shorter.pop_back();
  EXPECT_EQ(RefusedWith(51, shorter), "malformed");
  hello_.Remove(51);
  EXPECT_EQ(Refused(), "group");
}

TEST_F(TlsHelloTest, KeySharesAreOfGroupsThatAreListed) {
  EXPECT_EQ(RefusedWith(10, {0, 2, 0, 23}), "malformed") << "X25519 is not";
  hello_.Remove(10);
  EXPECT_EQ(Refused(), "malformed");
  hello_.extensions.push_back({10, {0, 2, 0, 29}});  // behind the shares is as good
  EXPECT_EQ(Refused(), "taken");
  Bytes* shares = hello_.Find(51);
  AddBytes(shares, Bytes{0, 24, 0, 1, 5});
  (*shares)[1] = static_cast<uint8_t>((*shares)[1] + 5);
  EXPECT_EQ(Refused(), "malformed");
  *hello_.Find(10) = {0, 4, 0, 29, 0, 24};
  EXPECT_EQ(Refused(), "taken");
}

TEST_F(TlsHelloTest, WhatOnlyOpenSslDoesIsLeftToIt) {
  EXPECT_EQ(RefusedWith(1, {1}), "extension");            // max_fragment_length
  EXPECT_EQ(RefusedWith(42, {}), "extension");            // early_data
  EXPECT_EQ(RefusedWith(44, {0, 1, 7}), "extension");     // cookie
  EXPECT_EQ(RefusedWith(47, {0, 2, 0, 0}), "extension");  // certificate_authorities
  EXPECT_EQ(RefusedWith(50, {0, 2, 4, 3}), "extension");  // signature_algorithms_cert
}

TEST_F(TlsHelloTest, WhatOpenSslRefusesIsMalformed) {
  EXPECT_EQ(RefusedWith(14, {0, 0, 0}), "malformed");  // use_srtp
  EXPECT_EQ(RefusedWith(0xfde8, {}), "malformed");     // a server's
  EXPECT_EQ(RefusedWith(49, {}), "taken");             // post_handshake_auth
  EXPECT_EQ(RefusedWith(49, {0}), "malformed");
}

TEST_F(TlsHelloTest, StaplesAreAskedForInTheUsualForm) {
  hello_.Add(5, {1, 0, 0, 0, 0});
  const Parsed hello(hello_.Message());
  ASSERT_TRUE(hello.ok());
  EXPECT_TRUE(hello->wants_staple);
  EXPECT_EQ(RefusedWith(5, {}), "malformed");
  EXPECT_EQ(RefusedWith(5, {1}), "extension");
  EXPECT_EQ(RefusedWith(5, {1, 0, 0, 0}), "extension");
  EXPECT_EQ(RefusedWith(5, {1, 0, 0, 0, 0, 0}), "extension");
  EXPECT_EQ(RefusedWith(5, {1, 0, 3, 0, 1, 5, 0, 0}), "extension");
  *hello_.Find(5) = {2, 9, 9};  // a type that nobody knows
  const Parsed other(hello_.Message());
  ASSERT_TRUE(other.ok());
  EXPECT_FALSE(other->wants_staple);
}

// --- pre-shared keys --------------------------------------------------------------------------

TEST_F(TlsHelloTest, IdentitiesAndBindersAreReadWithTheirPlace) {
  AddKeys(Keys({Bytes(20, 'i'), Bytes(300, 'j')}, {32, 48}));
  const Bytes message = hello_.Message();
  const Parsed hello(message);
  ASSERT_EQ(hello.refused(), "taken");
  EXPECT_THAT(hello->identities, SizeIs(2 + 20 + 4 + 2 + 300 + 4));
  EXPECT_THAT(hello->binders, SizeIs(1 + 32 + 1 + 48));
  EXPECT_EQ(hello->binders_at, message.size() - 2 - 33 - 49);
}

TEST_F(TlsHelloTest, PreSharedKeysAreTheLastExtension) {
  AddKeys(Keys({Bytes(20, 'i')}, {32}));
  ASSERT_EQ(Refused(), "taken");
  hello_.extensions.push_back({0x0a0a, {}});
  EXPECT_EQ(Refused(), "malformed");
}

TEST_F(TlsHelloTest, PreSharedKeysWithoutModesAreMalformed) {
  hello_.extensions.push_back({41, Keys({Bytes(20, 'i')}, {32})});
  EXPECT_EQ(Refused(), "malformed");
}

TEST_F(TlsHelloTest, WithoutTheModeThatKeepsForwardSecrecyTheyAreNoOffer) {
  for (const Bytes& modes : {Bytes{1, 0}, Bytes{2, 0, 7}}) {
    const HelloParts before = hello_;
    AddKeys(Keys({Bytes(20, 'i')}, {32}), modes);
    const Parsed hello(hello_.Message());
    ASSERT_EQ(hello.refused(), "taken");
    EXPECT_THAT(hello->identities, IsEmpty());
    EXPECT_THAT(hello->binders, IsEmpty());
    hello_ = before;
  }
}

TEST_F(TlsHelloTest, ModesAreAListThatIsNotEmpty) {
  for (const Bytes& modes : {Bytes{}, Bytes{0}, Bytes{2, 1}, Bytes{1, 1, 1}}) {
    EXPECT_EQ(RefusedWith(45, modes), "malformed") << testing::PrintToString(modes);
  }
}

TEST_F(TlsHelloTest, EachIdentityHasItsNameAndItsBinder) {
  const Bytes i(20, 'i');
  const std::pair<std::vector<Bytes>, std::vector<size_t>> bad[] = {{{}, {}},
                                                                    {{i}, {}},
                                                                    {{}, {32}},
                                                                    {{i}, {32, 32}},
                                                                    {{i, i}, {32}},
                                                                    {{Bytes{}}, {32}},
                                                                    {{i, Bytes{}}, {32, 32}},
                                                                    {{i}, {31}},
                                                                    {{i}, {0}},
                                                                    {{i, i}, {32, 31}}};
  const HelloParts before = hello_;
  for (const auto& [identities, binders] : bad) {
    AddKeys(Keys(identities, binders));
    EXPECT_EQ(Refused(), "malformed") << identities.size() << " " << binders.size();
    hello_ = before;
  }
  Bytes longer = Keys({i}, {32});
  longer.push_back(0);
  AddKeys(longer);
  EXPECT_EQ(Refused(), "malformed");
  hello_ = before;
  AddKeys({0, 5, 0, 1, 'i', 0, 0, 0, 33, 32});  // cut within the age
  EXPECT_EQ(Refused(), "malformed");
}

TEST(TlsHelloPairs, AreFoundWhole) {
  const Bytes pairs = {0x13, 0x01, 0x03, 0x13};
  EXPECT_TRUE(TlsHello::Has(pairs, 0x1301));
  EXPECT_TRUE(TlsHello::Has(pairs, 0x0313));
  EXPECT_FALSE(TlsHello::Has(pairs, 0x0103)) << "lies across two";
  EXPECT_FALSE(TlsHello::Has({}, 0));
}

TEST(TlsDeclines, EachReasonHasItsOwnName) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < kTlsDeclineValues; ++i) names.insert(ToString(static_cast<TlsDecline>(i)));
  EXPECT_THAT(names, SizeIs(kTlsDeclineValues));
  EXPECT_FALSE(names.contains("?"));
  EXPECT_EQ(ToString(static_cast<TlsDecline>(kTlsDeclineValues)), "?");
}

}  // namespace
}  // namespace net
