#include "net/tls/context/tls_facts.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <string_view>

#include "net/base/check.h"

namespace net {

namespace {

constexpr size_t kMaxNames = 100;  // of each kind; a certificate may list thousands

std::string_view View(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<size_t>(ASN1_STRING_length(text))};
}

// Keeps a name that is safe to compare and to print.
void KeepName(std::string_view name, std::vector<std::string>* names, unsigned* rejected) {
  bool bad = name.empty() || name.size() > 3071 || std::ranges::any_of(name, [](char c) {
               return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
             });
  if (bad) {
    ++*rejected;
  } else if (names->size() < kMaxNames) {
    names->emplace_back(name);
  }
}

void KeepOtherName(const OTHERNAME* other, TlsPeerCertificate* facts) {
  std::array<char, 64> oid;
  int n = OBJ_obj2txt(oid.data(), oid.size(), other->type_id, 1);
  if (n <= 0 || static_cast<size_t>(n) >= oid.size()) return;
  std::string_view id(oid.data(), static_cast<size_t>(n));
  if (id == "1.3.6.1.5.5.7.8.5" && other->value->type == V_ASN1_UTF8STRING) {
    KeepName(View(other->value->value.utf8string), &facts->xmpp_addrs, &facts->rejected_names);
  } else if (id == "1.3.6.1.5.5.7.8.7" && other->value->type == V_ASN1_IA5STRING) {
    KeepName(View(other->value->value.ia5string), &facts->srv_names, &facts->rejected_names);
  }
}

void ReadAlternativeNames(X509* certificate, TlsPeerCertificate* facts) {
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_DNS) {
      KeepName(View(name->d.dNSName), &facts->dns_names, &facts->rejected_names);
    } else if (name->type == GEN_EMAIL) {
      KeepName(View(name->d.rfc822Name), &facts->emails, &facts->rejected_names);
    } else if (name->type == GEN_OTHERNAME) {
      KeepOtherName(name->d.otherName, facts);
    }
  }
  GENERAL_NAMES_free(names);
}

void ReadSubject(X509* certificate, TlsPeerCertificate* facts) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  BIO* bio = BIO_new(BIO_s_mem());
  if (bio != nullptr && X509_NAME_print_ex(bio, subject, 0, XN_FLAG_RFC2253) >= 0) {
    char* data = nullptr;
    long n = BIO_get_mem_data(bio, &data);
    if (n > 0) facts->subject.assign(data, static_cast<size_t>(n));
  }
  BIO_free(bio);
  int last = -1;
  for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, i)) >= 0;) last = i;
  if (last < 0) return;
  unsigned char* utf8 = nullptr;
  int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
  std::vector<std::string> name;
  if (n > 0) {
    KeepName({reinterpret_cast<char*>(utf8), static_cast<size_t>(n)}, &name,
             &facts->rejected_names);
  }
  if (!name.empty()) facts->common_name = name.front();
  OPENSSL_free(utf8);
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool EqualIgnoreCase(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return Lower(x) == Lower(y); });
}

int ClientNameIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

}  // namespace

TlsPeerCertificate DescribeCertificate(X509* certificate) {
  TlsPeerCertificate facts;
  ReadSubject(certificate, &facts);
  ReadAlternativeNames(certificate, &facts);
  unsigned n = 0;
  X509_digest(certificate, EVP_sha256(), facts.sha256.data(), &n);
  int size = i2d_X509(certificate, nullptr);
  if (size > 0) {
    facts.der.resize(static_cast<size_t>(size));
    uint8_t* to = facts.der.data();
    i2d_X509(certificate, &to);
  }
  return facts;
}

// RFC 5929 section 4.1: the hash of the certificate's signature algorithm, SHA-256 in place of MD5
// and SHA-1.
std::vector<uint8_t> TlsServerEndPoint(X509* certificate) {
  int digest_nid = NID_undef;
  if (X509_get_signature_info(certificate, &digest_nid, nullptr, nullptr, nullptr) != 1 ||
      digest_nid == NID_undef) {
    return {};
  }
  if (digest_nid == NID_md5 || digest_nid == NID_sha1) digest_nid = NID_sha256;
  const EVP_MD* digest = EVP_get_digestbynid(digest_nid);
  std::vector<uint8_t> hash(EVP_MAX_MD_SIZE);
  unsigned n = 0;
  if (digest == nullptr || X509_digest(certificate, digest, hash.data(), &n) != 1) return {};
  hash.resize(n);
  return hash;
}

std::vector<uint8_t> TlsExporterBinding(SSL* ssl) {
  if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1) return {};
  std::vector<uint8_t> value(32);
  // RFC 9266: no context, which in TLS 1.3 is the same as an empty one; in TLS 1.2 it is not.
  if (SSL_export_keying_material(ssl, value.data(), value.size(), kTlsExporterLabel.data(),
                                 kTlsExporterLabel.size(), nullptr, 0, 0) != 1) {
    return {};
  }
  return value;
}

void KeepClientNameIn(SSL* ssl, std::string* name) {
  CHECK(SSL_set_ex_data(ssl, ClientNameIndex(), name) == 1);
}

std::string* ClientNameOf(const SSL* ssl) {
  return static_cast<std::string*>(SSL_get_ex_data(ssl, ClientNameIndex()));
}

bool IsTlsServerName(std::string_view name) {
  return !name.empty() && name.size() <= 255 &&
         std::ranges::all_of(name, [](char c) { return c > 0x20 && c < 0x7f; });
}

std::unique_ptr<TlsFacts> CollectTlsFacts(SSL* ssl) {
  auto facts = std::make_unique<TlsFacts>();
  facts->version = SSL_version(ssl);
  facts->version_name = SSL_get_version(ssl);
  facts->cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl));
  const unsigned char* alpn = nullptr;
  unsigned alpn_length = 0;
  SSL_get0_alpn_selected(ssl, &alpn, &alpn_length);
  facts->alpn.assign(reinterpret_cast<const char*>(alpn), alpn_length);
  if (const std::string* name = ClientNameOf(ssl)) {
    facts->sni = *name;
  } else if (const char* sent = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) {
    facts->sni = sent;
  }
  facts->resumed = SSL_session_reused(ssl) == 1;
  X509* peer = SSL_get0_peer_certificate(ssl);
  if (peer != nullptr) {
    facts->peer = DescribeCertificate(peer);
    long result = SSL_get_verify_result(ssl);
    facts->peer->verified = result == X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE;
    if (result != X509_V_OK) facts->peer->verify_error = X509_verify_cert_error_string(result);
  }
  return facts;
}

bool TlsNameMatches(std::string_view pattern, std::string_view name) {
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  if (name.empty() || pattern.empty()) return false;
  if (!pattern.starts_with("*.")) return EqualIgnoreCase(pattern, name);
  size_t dot = name.find('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  return EqualIgnoreCase(pattern.substr(1), name.substr(dot));
}

}  // namespace net
