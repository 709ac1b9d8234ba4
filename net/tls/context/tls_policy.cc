// Policy, verification and ALPN: what server and client contexts have in common.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net/tls/context/tls_certificate.h"

namespace net {

namespace {

void FreeCrls(STACK_OF(X509_INFO) * infos) { sk_X509_INFO_pop_free(infos, X509_INFO_free); }

int ProtocolNumber(TlsVersion version) {
  return version == TlsVersion::kTls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
}

}  // namespace

void ApplyTlsPolicy(SSL_CTX* context, const TlsPolicy& policy, TlsConfigErrors* errors) {
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
}

void LoadTlsVerification(SSL_CTX* context, const std::string& ca, const std::string& crl,
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
  std::unique_ptr<STACK_OF(X509_INFO), OpenSslDeleter<FreeCrls>> infos(
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

}  // namespace net
