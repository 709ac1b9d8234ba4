#include "net/tls_context.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <list>
#include <unordered_map>

#include "net/check.h"
#include "net/tls_capture.h"
#include "net/tls_facts.h"
#include "net/tls_openssl.h"

namespace net {

namespace {

template <auto kFree>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
void FreeChain(STACK_OF(X509) * chain) { sk_X509_pop_free(chain, X509_free); }
void FreeCrls(STACK_OF(X509_INFO) * infos) { sk_X509_INFO_pop_free(infos, X509_INFO_free); }

using ContextPtr = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using X509Ptr = std::unique_ptr<X509, Deleter<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, Deleter<BIO_free>>;
using ChainPtr = std::unique_ptr<STACK_OF(X509), Deleter<FreeChain>>;

BioPtr MemoryBio(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

int ProtocolNumber(TlsVersion version) {
  return version == TlsVersion::kTls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
}

int64_t ToUnix(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return static_cast<int64_t>(timegm(&parts));
}

// --- one certificate with its key and staple
// ------------------------------------------------------

struct Certificate {
  X509Ptr leaf;
  ChainPtr chain;
  KeyPtr key;
  std::string ocsp;
  int64_t ocsp_next_update = 0;
  std::vector<uint8_t> end_point;  // tls-server-end-point
  std::string file;
};

// The private key may be readable for a group (Debian's ssl-cert), never for all, never writable
// for others than its owner.
std::expected<void, TlsConfigError> CheckKeyFileMode(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0 || (info.st_mode & 027) == 0) return {};
  return std::unexpected(TlsConfigError{path, "the private key is open to others than its owner",
                                        "run: chmod 0600 " + path});
}

std::expected<void, TlsConfigError> LoadChain(const std::string& path, Certificate* certificate) {
  auto text = ReadTlsFile(path);
  if (!text) return std::unexpected(text.error());
  BioPtr bio = MemoryBio(*text);
  certificate->file = path;
  certificate->leaf.reset(PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr));
  if (certificate->leaf == nullptr) {
    ERR_clear_error();
    return std::unexpected(TlsConfigError{path, "holds no certificate in PEM form",
                                          "it must begin with -----BEGIN CERTIFICATE-----"});
  }
  certificate->end_point = TlsServerEndPoint(certificate->leaf.get());
  certificate->chain.reset(sk_X509_new_null());
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    sk_X509_push(certificate->chain.get(), next);
  }
  ERR_clear_error();  // the end of the file is an error to PEM_read
  return {};
}

int NoPassphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

std::expected<void, TlsConfigError> LoadKey(const std::string& path, Certificate* certificate) {
  if (path.empty()) {
    return std::unexpected(TlsConfigError{certificate->file, "has no private key configured",
                                          "set key to the file of its private key"});
  }
  auto text = ReadTlsFile(path);
  if (!text) return std::unexpected(text.error());
  if (auto mode = CheckKeyFileMode(path); !mode) return std::unexpected(mode.error());
  bool asked = false;
  certificate->key.reset(
      PEM_read_bio_PrivateKey(MemoryBio(*text).get(), nullptr, NoPassphrase, &asked));
  OPENSSL_cleanse(text->data(), text->size());
  ERR_clear_error();
  if (certificate->key == nullptr && asked) {
    return std::unexpected(TlsConfigError{
        path, "the private key is encrypted",
        "store it without a passphrase: openssl pkey -in " + path + " -out FILE, with mode 0600"});
  }
  if (certificate->key == nullptr) {
    return std::unexpected(
        TlsConfigError{path, "holds no private key in PEM form",
                       "it must begin with -----BEGIN PRIVATE KEY----- or alike"});
  }
  if (X509_check_private_key(certificate->leaf.get(), certificate->key.get()) != 1) {
    ERR_clear_error();
    return std::unexpected(TlsConfigError{
        path, "the private key does not match the certificate in " + certificate->file,
        "set key to the one that the certificate was issued for"});
  }
  return {};
}

std::expected<void, TlsConfigError> LoadOcsp(const std::string& path, Certificate* certificate) {
  auto text = ReadTlsFile(path);
  if (!text) return std::unexpected(text.error());
  const auto* der = reinterpret_cast<const uint8_t*>(text->data());
  std::unique_ptr<OCSP_RESPONSE, Deleter<OCSP_RESPONSE_free>> response(
      d2i_OCSP_RESPONSE(nullptr, &der, static_cast<long>(text->size())));
  std::string remedy = "fetch it anew: openssl ocsp -respout " + path + " ...";
  if (response == nullptr) {
    ERR_clear_error();
    return std::unexpected(TlsConfigError{path, "is no OCSP response in DER form", remedy});
  }
  std::unique_ptr<OCSP_BASICRESP, Deleter<OCSP_BASICRESP_free>> basic(
      OCSP_response_get1_basic(response.get()));
  ERR_clear_error();
  if (OCSP_response_status(response.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL || basic == nullptr ||
      OCSP_resp_count(basic.get()) < 1) {
    return std::unexpected(TlsConfigError{path, "is an OCSP response without an answer", remedy});
  }
  OCSP_SINGLERESP* single = OCSP_resp_get0(basic.get(), 0);
  const ASN1_INTEGER* serial = nullptr;
  OCSP_id_get0_info(nullptr, nullptr, nullptr, const_cast<ASN1_INTEGER**>(&serial),
                    const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(single)));
  if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(certificate->leaf.get())) != 0) {
    return std::unexpected(
        TlsConfigError{path, "answers for another certificate than " + certificate->file, remedy});
  }
  ASN1_GENERALIZEDTIME* next_update = nullptr;
  OCSP_single_get0_status(single, nullptr, nullptr, nullptr, &next_update);
  certificate->ocsp_next_update = next_update == nullptr ? INT64_MAX : ToUnix(next_update);
  certificate->ocsp = std::move(*text);
  return {};
}

std::expected<Certificate, TlsConfigError> LoadCertificate(const TlsCertificateFiles& files) {
  Certificate certificate;
  if (auto ok = LoadChain(files.chain, &certificate); !ok) return std::unexpected(ok.error());
  if (auto ok = LoadKey(files.key, &certificate); !ok) return std::unexpected(ok.error());
  if (!files.ocsp.empty()) {
    if (auto ok = LoadOcsp(files.ocsp, &certificate); !ok) return std::unexpected(ok.error());
  }
  return certificate;
}

TlsCertificateInfo InfoOf(const Certificate& certificate) {
  TlsPeerCertificate facts = DescribeCertificate(certificate.leaf.get());
  TlsCertificateInfo info;
  info.file = certificate.file;
  info.subject = facts.subject;
  const char* type = EVP_PKEY_get0_type_name(certificate.key.get());
  info.key_type = type == nullptr ? "?" : type;
  info.names = facts.dns_names;
  for (const std::string& address : facts.xmpp_addrs) {
    if (address.find_first_of("@/") == std::string::npos) info.names.push_back(address);
  }
  if (info.names.empty() && !facts.common_name.empty()) info.names.push_back(facts.common_name);
  info.not_before = ToUnix(X509_get0_notBefore(certificate.leaf.get()));
  info.not_after = ToUnix(X509_get0_notAfter(certificate.leaf.get()));
  info.ocsp_next_update = certificate.ocsp_next_update;
  return info;
}

// --- what server and client contexts have in common
// -----------------------------------------------

void ApplyPolicy(SSL_CTX* context, const TlsPolicy& policy, TlsConfigErrors* errors) {
  auto refuse = [errors](const std::string& option, const std::string& value) {
    errors->push_back({"", option + " = \"" + value + "\": " + TakeOpenSslError(),
                       "see: openssl ciphers -v, openssl list -all-algorithms"});
  };
  if (policy.min_version > policy.max_version) {
    errors->push_back({"", "min_version is above max_version", "swap them"});
  }
  SSL_CTX_set_min_proto_version(context, ProtocolNumber(policy.min_version));
  SSL_CTX_set_max_proto_version(context, ProtocolNumber(policy.max_version));
  if (SSL_CTX_set_cipher_list(context, policy.ciphers.c_str()) != 1) {
    refuse("ciphers", policy.ciphers);
  }
  if (SSL_CTX_set_ciphersuites(context, policy.suites.c_str()) != 1) {
    refuse("suites", policy.suites);
  }
  if (SSL_CTX_set1_groups_list(context, policy.groups.c_str()) != 1) {
    refuse("groups", policy.groups);
  }
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  // NO_AUTO_CHAIN: the chain is what the file holds, instead of a search in every handshake.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_read_ahead(context, 0);
  // OpenSSL formats the lines in hex, some 12 us a handshake, so only where they are used.
  if (policy.take_over) InstallTlsCapture(context);
}

void LoadVerification(SSL_CTX* context, const std::string& ca, const std::string& crl,
                      TlsConfigErrors* errors) {
  if (ca.empty()) {
    SSL_CTX_set_default_verify_paths(context);
  } else if (auto text = ReadTlsFile(ca, size_t{8} << 20); !text) {
    errors->push_back(text.error());
  } else if (SSL_CTX_load_verify_file(context, ca.c_str()) != 1) {
    errors->push_back({ca, "holds no CA certificate: " + TakeOpenSslError(),
                       "it must hold certificates in PEM form"});
  }
  ERR_clear_error();
  if (crl.empty()) return;
  auto text = ReadTlsFile(crl, size_t{16} << 20);
  if (!text) {
    errors->push_back(text.error());
    return;
  }
  std::unique_ptr<STACK_OF(X509_INFO), Deleter<FreeCrls>> infos(
      PEM_X509_INFO_read_bio(MemoryBio(*text).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  int found = 0;
  for (int i = 0; infos != nullptr && i < sk_X509_INFO_num(infos.get()); ++i) {
    X509_CRL* list = sk_X509_INFO_value(infos.get(), i)->crl;
    if (list != nullptr && X509_STORE_add_crl(store, list) == 1) ++found;
  }
  if (found == 0) {
    errors->push_back({crl, "holds no certificate revocation list in PEM form",
                       "it must hold -----BEGIN X509 CRL-----"});
    return;
  }
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_CRL_CHECK);
}

// The wire form of an ALPN list. Names of length 0 or above 255 are mistakes.
std::string AlpnWire(const std::vector<std::string>& names, TlsConfigErrors* errors) {
  std::string wire;
  for (const std::string& name : names) {
    if (name.empty() || name.size() > 255) {
      errors->push_back({"", "alpn: a name has " + std::to_string(name.size()) + " bytes",
                         "names have 1 to 255 bytes, e.g. \"xmpp-client\""});
      continue;
    }
    wire.push_back(static_cast<char>(name.size()));
    wire += name;
  }
  return wire;
}

int AcceptAnyCertificate(int, X509_STORE_CTX*) { return 1; }

}  // namespace

std::string_view ToString(TlsClientAuth auth) {
  switch (auth) {
    case TlsClientAuth::kOff:
      return "off";
    case TlsClientAuth::kOptional:
      return "optional";
    case TlsClientAuth::kRequired:
      return "required";
  }
  return "?";
}

int64_t TlsCertificateInfo::DaysLeft(int64_t now) const {
  int64_t left = not_after - now;
  constexpr int64_t kDay = 86'400;
  return left >= 0 ? left / kDay : -((-left + kDay - 1) / kDay);
}

// --- server
// ---------------------------------------------------------------------------------------

struct TlsServerContext::Impl {
  struct Site {
    std::vector<std::string> names;
    ContextPtr context;
    std::vector<Certificate> certificates;
    int verify_mode = SSL_VERIFY_NONE;
    SSL_verify_cb verify_callback = nullptr;
    std::array<uint8_t, SHA256_DIGEST_LENGTH> session_id_context{};
  };

  // Sites are stored by pointer: OpenSSL holds their address as callback argument.
  std::vector<std::unique_ptr<Site>> sites;
  std::string alpn;
  bool alpn_required = false;
  bool strict_sni = false;
  std::shared_ptr<TlsTicketKeys> tickets;
  // Fetched once: EVP_aes_256_cbc() would search for it in every handshake.
  std::unique_ptr<EVP_CIPHER, Deleter<EVP_CIPHER_free>> ticket_cipher{
      EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr)};
};

namespace {

using ServerImpl = TlsServerContext::Impl;

int ImplIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// A later site with the exact name wins over an earlier one with a wildcard.
int FindSite(const ServerImpl& impl, std::string_view name) {
  if (name.empty()) return 0;
  for (bool wildcard : {false, true}) {
    for (size_t i = 0; i < impl.sites.size(); ++i) {
      for (const std::string& pattern : impl.sites[i]->names) {
        if (pattern.starts_with("*.") == wildcard && TlsNameMatches(pattern, name)) {
          return static_cast<int>(i);
        }
      }
    }
  }
  return impl.strict_sni ? -1 : 0;
}

// server_name out of the raw extension (RFC 6066 section 3); "" for anything malformed, which
// OpenSSL's own parser then refuses.
std::string_view RawServerName(SSL* ssl) {
  const unsigned char* data = nullptr;
  size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &size) != 1 || size < 5) {
    return {};
  }
  size_t list = static_cast<size_t>(data[0]) << 8 | data[1];
  size_t length = static_cast<size_t>(data[3]) << 8 | data[4];
  if (list != size - 2 || data[2] != TLSEXT_NAMETYPE_host_name || length > size - 5) return {};
  return {reinterpret_cast<const char*>(data) + 5, length};
}

int OnClientHello(SSL* ssl, int* alert, void* arg) {
  auto* impl = static_cast<ServerImpl*>(arg);
  int index = FindSite(*impl, RawServerName(ssl));
  if (index < 0) {
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_CLIENT_HELLO_ERROR;
  }
  const unsigned char* offered = nullptr;
  size_t offered_size = 0;
  if (impl->alpn_required &&
      SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &offered,
                                &offered_size) != 1) {
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
  }
  ServerImpl::Site& site = *impl->sites[static_cast<size_t>(index)];
  if (SSL_get_SSL_CTX(ssl) != site.context.get()) {
    SSL_set_SSL_CTX(ssl, site.context.get());
  }
  // SSL_set_SSL_CTX leaves these as they were.
  SSL_set_verify(ssl, site.verify_mode, site.verify_callback);
  SSL_set_session_id_context(ssl, site.session_id_context.data(),
                             static_cast<unsigned>(site.session_id_context.size()));
  return SSL_CLIENT_HELLO_SUCCESS;
}

int OnAlpn(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
           unsigned in_length, void* arg) {
  auto* impl = static_cast<ServerImpl*>(arg);
  if (impl->alpn.empty()) return SSL_TLSEXT_ERR_NOACK;
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(
          &chosen, out_length, reinterpret_cast<const unsigned char*>(impl->alpn.data()),
          static_cast<unsigned>(impl->alpn.size()), in, in_length) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

int OnStatusRequest(SSL* ssl, void* arg) {
  auto* site = static_cast<ServerImpl::Site*>(arg);
  const X509* used = SSL_get_certificate(ssl);
  for (const Certificate& certificate : site->certificates) {
    if (certificate.ocsp.empty() || used == nullptr ||
        X509_cmp(certificate.leaf.get(), used) != 0) {
      continue;
    }
    if (certificate.ocsp_next_update <= std::time(nullptr)) return SSL_TLSEXT_ERR_NOACK;
    size_t size = certificate.ocsp.size();
    void* copy = OPENSSL_memdup(certificate.ocsp.data(), size);  // becomes the SSL's
    if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(size));
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

bool SetTicketKey(const ServerImpl& impl, const TlsTicketKey& key, const unsigned char* iv,
                  EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int encrypt) {
  std::array<char, 7> digest = {"SHA256"};
  TlsTicketKey copy = key;  // OSSL_PARAM wants it writable
  std::array<OSSL_PARAM, 3> params = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, copy.hmac.data(), copy.hmac.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_end()};
  bool ok = EVP_MAC_CTX_set_params(mac, params.data()) == 1 &&
            EVP_CipherInit_ex(cipher, impl.ticket_cipher.get(), nullptr, copy.aes.data(), iv,
                              encrypt) == 1;
  OPENSSL_cleanse(&copy, sizeof(copy));
  return ok;
}

// 1 go on, 2 go on and issue a new ticket, 0 not our key: full handshake, -1 error.
int OnTicketKey(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                EVP_MAC_CTX* mac, int encrypt) {
  auto* impl = static_cast<ServerImpl*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ImplIndex()));
  if (impl == nullptr || impl->tickets == nullptr || impl->ticket_cipher == nullptr)
    return encrypt != 0 ? -1 : 0;
  std::shared_ptr<const TlsTicketKeySet> set = impl->tickets->set();
  if (encrypt != 0) {
    const TlsTicketKey& current = set->keys[TlsTicketKeySet::kCurrent];
    std::memcpy(name, current.name.data(), current.name.size());
    if (RAND_bytes(iv, 16) != 1) return -1;
    return SetTicketKey(*impl, current, iv, cipher, mac, 1) ? 1 : -1;
  }
  for (size_t i = 0; i < set->keys.size(); ++i) {
    const TlsTicketKey& key = set->keys[i];
    if (std::memcmp(name, key.name.data(), key.name.size()) != 0) continue;
    if (!SetTicketKey(*impl, key, iv, cipher, mac, 0)) return -1;
    // TLS 1.3 clients use a ticket once, so they need a new one each time.
    bool renew = i != TlsTicketKeySet::kCurrent || SSL_version(ssl) == TLS1_3_VERSION;
    return renew ? 2 : 1;
  }
  return 0;
}

// What a ticket of this site vouches for.
void BindSessions(const TlsSite& options, ServerImpl::Site* site) {
  EVP_MD_CTX* hash = EVP_MD_CTX_new();
  CHECK(hash != nullptr && EVP_DigestInit_ex(hash, EVP_sha256(), nullptr) == 1);
  auto add = [hash](std::string_view text) {
    uint64_t size = text.size();
    EVP_DigestUpdate(hash, &size, sizeof(size));
    EVP_DigestUpdate(hash, text.data(), text.size());
  };
  add(ToString(options.client_auth));
  add(options.client_any_purpose ? "any" : "client");
  for (const std::string& file : {options.client_ca, options.client_crl}) {
    auto content = file.empty() ? std::string() : ReadTlsFile(file, size_t{16} << 20);
    add(content ? *content : std::string());
  }
  for (const Certificate& certificate : site->certificates) {
    std::array<uint8_t, 32> print{};
    X509_digest(certificate.leaf.get(), EVP_sha256(), print.data(), nullptr);
    add({reinterpret_cast<const char*>(print.data()), print.size()});
  }
  EVP_DigestFinal_ex(hash, site->session_id_context.data(), nullptr);
  EVP_MD_CTX_free(hash);
  SSL_CTX_set_session_id_context(site->context.get(), site->session_id_context.data(),
                                 static_cast<unsigned>(site->session_id_context.size()));
}

void UseCertificates(const TlsSite& options, ServerImpl::Site* site,
                     std::vector<TlsCertificateInfo>* infos, TlsConfigErrors* errors) {
  std::vector<std::string> types;
  for (const TlsCertificateFiles& files : options.certificates) {
    auto loaded = LoadCertificate(files);
    if (!loaded) {
      errors->push_back(loaded.error());
      continue;
    }
    TlsCertificateInfo info = InfoOf(*loaded);
    if (std::ranges::find(types, info.key_type) != types.end()) {
      errors->push_back({files.chain, "is the second " + info.key_type + " certificate of its site",
                         "keep one a key type, or make a site of its own for it"});
      continue;
    }
    types.push_back(info.key_type);
    if (SSL_CTX_use_cert_and_key(site->context.get(), loaded->leaf.get(), loaded->key.get(),
                                 loaded->chain.get(), 1) != 1) {
      errors->push_back({files.chain, "is refused: " + TakeOpenSslError(),
                         "issue it with a key of at least 2048 (RSA) or 256 (EC) bits"});
      continue;
    }
    if (options.names.empty()) {
      site->names.insert(site->names.end(), info.names.begin(), info.names.end());
    }
    infos->push_back(std::move(info));
    site->certificates.push_back(std::move(*loaded));
  }
}

void UseClientAuth(const TlsSite& options, ServerImpl::Site* site, TlsConfigErrors* errors) {
  SSL_CTX* context = site->context.get();
  if (options.client_auth == TlsClientAuth::kOff) return;
  if (options.client_auth == TlsClientAuth::kRequired && options.client_ca.empty()) {
    errors->push_back({"", "client certificates are required but no client CA is set",
                       "set client_ca to the file of the CA that issued them"});
    return;
  }
  LoadVerification(context, options.client_ca, options.client_crl, errors);
  if (!options.client_ca.empty()) {
    SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(options.client_ca.c_str()));
    ERR_clear_error();
  }
  if (options.client_any_purpose) {
    X509_VERIFY_PARAM_set_purpose(SSL_CTX_get0_param(context), X509_PURPOSE_ANY);
  }
  site->verify_mode = SSL_VERIFY_PEER;
  if (options.client_auth == TlsClientAuth::kRequired) {
    site->verify_mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  } else {
    site->verify_callback = AcceptAnyCertificate;
  }
  SSL_CTX_set_verify(context, site->verify_mode, site->verify_callback);
}

void UseTickets(const TlsServerOptions& options, SSL_CTX* context) {
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(context, static_cast<long>(options.ticket_lifetime.count()));
  if (options.tickets == nullptr) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
    return;
  }
  SSL_CTX_set_num_tickets(context, options.tickets_per_handshake);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, OnTicketKey);
}

std::unique_ptr<ServerImpl::Site> MakeSite(const TlsServerOptions& options, const TlsSite& from,
                                           ServerImpl* impl, std::vector<TlsCertificateInfo>* infos,
                                           TlsConfigErrors* errors) {
  auto site = std::make_unique<ServerImpl::Site>();
  site->context.reset(SSL_CTX_new(TLS_server_method()));
  if (site->context == nullptr) {
    errors->push_back({"", "OpenSSL: " + TakeOpenSslError(), ""});
    return site;
  }
  SSL_CTX* context = site->context.get();
  site->names = from.names;
  ApplyPolicy(context, options.policy, errors);
  if (from.certificates.empty()) {
    errors->push_back({"", "a TLS site has no certificate", "add one with its key"});
  }
  UseCertificates(from, site.get(), infos, errors);
  UseClientAuth(from, site.get(), errors);
  UseTickets(options, context);
  BindSessions(from, site.get());
  SSL_CTX_set_ex_data(context, ImplIndex(), impl);
  SSL_CTX_set_client_hello_cb(context, OnClientHello, impl);
  SSL_CTX_set_alpn_select_cb(context, OnAlpn, impl);
  // What the macro SSL_CTX_set_tlsext_status_cb does, with a cast that C++ has.
  SSL_CTX_callback_ctrl(context, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB,
                        reinterpret_cast<void (*)()>(OnStatusRequest));
  SSL_CTX_set_tlsext_status_arg(context, site.get());
  return site;
}

}  // namespace

TlsServerContext::TlsServerContext() : impl_(std::make_unique<Impl>()) {}
TlsServerContext::~TlsServerContext() = default;

std::expected<std::shared_ptr<const TlsServerContext>, TlsConfigErrors> TlsServerContext::Create(
    const TlsServerOptions& options) {
  std::shared_ptr<TlsServerContext> context(new TlsServerContext);
  TlsConfigErrors errors;
  Impl* impl = context->impl_.get();
  impl->alpn = AlpnWire(options.alpn, &errors);
  impl->alpn_required = options.alpn_required;
  impl->strict_sni = options.strict_sni;
  impl->tickets = options.tickets;
  context->take_over_ = options.policy.take_over;
  if (options.sites.empty()) {
    errors.push_back({"", "TLS has no certificate", "add a site with a certificate and its key"});
  }
  for (const TlsSite& site : options.sites) {
    impl->sites.push_back(MakeSite(options, site, impl, &context->certificates_, &errors));
  }
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return context;
}

int TlsServerContext::SiteFor(std::string_view server_name) const {
  return FindSite(*impl_, server_name);
}

std::span<const uint8_t> TlsServerContext::EndPointOf(const x509_st* used) const {
  for (const auto& site : impl_->sites) {
    for (const Certificate& certificate : site->certificates) {
      if (certificate.leaf.get() == used) return certificate.end_point;
    }
  }
  return {};
}

SSL_CTX* TlsServerContext::native() const { return impl_->sites.front()->context.get(); }

// --- client
// ---------------------------------------------------------------------------------------

struct TlsClientContext::Impl {
  ContextPtr context;
  size_t sessions_max = 0;
  std::mutex mutex;
  // Newest first; one session a key.
  std::list<std::pair<std::string, SSL_SESSION*>> sessions;
  std::unordered_map<std::string, decltype(sessions)::iterator> by_key;

  ~Impl() {
    for (auto& [key, session] : sessions) SSL_SESSION_free(session);
  }
};

TlsClientContext::TlsClientContext() : impl_(std::make_unique<Impl>()) {}
TlsClientContext::~TlsClientContext() = default;

std::expected<std::shared_ptr<const TlsClientContext>, TlsConfigErrors> TlsClientContext::Create(
    const TlsClientOptions& options) {
  std::shared_ptr<TlsClientContext> context(new TlsClientContext);
  TlsConfigErrors errors;
  Impl* impl = context->impl_.get();
  context->take_over_ = options.policy.take_over;
  context->verify_ = options.verify;
  impl->sessions_max = options.sessions_max;
  impl->context.reset(SSL_CTX_new(TLS_client_method()));
  if (impl->context == nullptr) {
    return std::unexpected(TlsConfigErrors{{"", "OpenSSL: " + TakeOpenSslError(), ""}});
  }
  SSL_CTX* native = impl->context.get();
  ApplyPolicy(native, options.policy, &errors);
  if (options.verify) {
    LoadVerification(native, options.ca, options.crl, &errors);
    SSL_CTX_set_verify(native, SSL_VERIFY_PEER, nullptr);
  }
  if (!options.certificate.chain.empty()) {
    auto own = LoadCertificate(options.certificate);
    if (!own) {
      errors.push_back(own.error());
    } else if (SSL_CTX_use_cert_and_key(native, own->leaf.get(), own->key.get(), own->chain.get(),
                                        1) != 1) {
      errors.push_back({options.certificate.chain, "is refused: " + TakeOpenSslError(), ""});
    }
  }
  std::string alpn = AlpnWire(options.alpn, &errors);
  if (!alpn.empty()) {
    SSL_CTX_set_alpn_protos(native, reinterpret_cast<const unsigned char*>(alpn.data()),
                            static_cast<unsigned>(alpn.size()));
  }
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
  InstallTlsSessionStore(native);
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return context;
}

SSL_CTX* TlsClientContext::native() const { return impl_->context.get(); }

SSL_SESSION* TlsClientContext::TakeSession(const std::string& key) const {
  std::lock_guard lock(impl_->mutex);
  auto found = impl_->by_key.find(key);
  if (found == impl_->by_key.end()) return nullptr;
  SSL_SESSION* session = found->second->second;
  impl_->sessions.erase(found->second);
  impl_->by_key.erase(found);
  return session;
}

void TlsClientContext::StoreSession(const std::string& key, SSL_SESSION* session) const {
  std::lock_guard lock(impl_->mutex);
  auto& sessions = impl_->sessions;
  if (auto found = impl_->by_key.find(key); found != impl_->by_key.end()) {
    SSL_SESSION_free(found->second->second);
    sessions.erase(found->second);
    impl_->by_key.erase(found);
  }
  sessions.emplace_front(key, session);
  impl_->by_key[key] = sessions.begin();
  if (sessions.size() <= impl_->sessions_max) return;
  SSL_SESSION_free(sessions.back().second);
  impl_->by_key.erase(sessions.back().first);
  sessions.pop_back();
}

size_t TlsClientContext::sessions() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->sessions.size();
}

}  // namespace net
