#include "tests/net/tls_test_certs.h"

#include <openssl/ec.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "net/base/check.h"

namespace net {

namespace {

EVP_PKEY* MakeKey(const std::string& type) {
  if (type == "ED25519") return EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  if (type.starts_with("RSA")) {
    size_t bits = static_cast<size_t>(std::stoul(type.substr(3)));
    return EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", bits);
  }
  return EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", type.c_str());
}

void AddOtherName(GENERAL_NAMES* names, const char* oid, int type, const std::string& value) {
  ASN1_STRING* text = ASN1_STRING_type_new(type);
  ASN1_STRING_set(text, value.data(), static_cast<int>(value.size()));
  ASN1_TYPE* any = ASN1_TYPE_new();
  ASN1_TYPE_set(any, type, text);
  GENERAL_NAME* name = GENERAL_NAME_new();
  GENERAL_NAME_set0_othername(name, OBJ_txt2obj(oid, 1), any);
  sk_GENERAL_NAME_push(names, name);
}

void AddNames(X509* certificate, const TestCertificateOptions& options) {
  GENERAL_NAMES* names = GENERAL_NAMES_new();
  for (const std::string& dns : options.dns_names) {
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, dns.data(), static_cast<int>(dns.size()));  // with NUL, if it has one
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names, name);
  }
  for (const std::string& address : options.xmpp_addrs) {
    AddOtherName(names, "1.3.6.1.5.5.7.8.5", V_ASN1_UTF8STRING, address);
  }
  for (const std::string& service : options.srv_names) {
    AddOtherName(names, "1.3.6.1.5.5.7.8.7", V_ASN1_IA5STRING, service);
  }
  if (sk_GENERAL_NAME_num(names) > 0) {
    CHECK(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) == 1);
  }
  GENERAL_NAMES_free(names);
}

void AddBasicConstraints(X509* certificate) {
  BASIC_CONSTRAINTS* constraints = BASIC_CONSTRAINTS_new();
  constraints->ca = 0xff;
  CHECK(X509_add1_ext_i2d(certificate, NID_basic_constraints, constraints, 1, 0) == 1);
  BASIC_CONSTRAINTS_free(constraints);
}

std::string TakeBio(BIO* bio) {
  char* data = nullptr;
  long n = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(n));
  BIO_free(bio);
  return text;
}

const EVP_MD* DigestFor(EVP_PKEY* key) {
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
}

}  // namespace

TestCertificate::TestCertificate(const TestCertificateOptions& options,
                                 const TestCertificate* issuer)
    : x509_(X509_new()), key_(MakeKey(options.key_type)) {
  CHECK(x509_ != nullptr && key_ != nullptr);
  X509_set_version(x509_, 2);
  uint64_t serial = 0;
  CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial)) == 1);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509_), serial >> 1);
  X509_gmtime_adj(X509_getm_notBefore(x509_), options.not_before_days * 86'400);
  X509_gmtime_adj(X509_getm_notAfter(x509_), options.not_after_days * 86'400);
  X509_set_pubkey(x509_, key_);
  X509_NAME* name = X509_NAME_new();
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(options.common_name.data()),
                             static_cast<int>(options.common_name.size()), -1, 0);
  X509_set_subject_name(x509_, name);
  X509_NAME_free(name);
  X509_set_issuer_name(x509_, X509_get_subject_name(issuer ? issuer->x509_ : x509_));
  if (options.is_ca) AddBasicConstraints(x509_);
  AddNames(x509_, options);
  EVP_PKEY* signer = issuer ? issuer->key_ : key_;
  CHECK(X509_sign(x509_, signer, DigestFor(signer)) > 0);
}

TestCertificate::~TestCertificate() {
  X509_free(x509_);
  EVP_PKEY_free(key_);
}

std::string TestCertificate::chain_pem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, x509_);
  return TakeBio(bio);
}

std::string TestCertificate::key_pem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(bio, key_, nullptr, nullptr, 0, nullptr, nullptr);
  return TakeBio(bio);
}

std::string TestCertificate::CrlPem(const std::vector<const TestCertificate*>& revoked) const {
  X509_CRL* crl = X509_CRL_new();
  X509_CRL_set_version(crl, 1);
  X509_CRL_set_issuer_name(crl, X509_get_subject_name(x509_));
  ASN1_TIME* now = X509_gmtime_adj(nullptr, -60);
  ASN1_TIME* later = X509_gmtime_adj(nullptr, 86'400);
  X509_CRL_set1_lastUpdate(crl, now);
  X509_CRL_set1_nextUpdate(crl, later);
  for (const TestCertificate* certificate : revoked) {
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate->x509_));
    X509_REVOKED_set_revocationDate(entry, now);
    X509_CRL_add0_revoked(crl, entry);
  }
  CHECK(X509_CRL_sign(crl, key_, EVP_sha256()) > 0);
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509_CRL(bio, crl);
  ASN1_TIME_free(now);
  ASN1_TIME_free(later);
  X509_CRL_free(crl);
  return TakeBio(bio);
}

std::string TestCertificate::OcspDer(const TestCertificate& subject,
                                     long next_update_seconds) const {
  OCSP_BASICRESP* basic = OCSP_BASICRESP_new();
  OCSP_CERTID* id = OCSP_cert_to_id(EVP_sha1(), subject.x509_, x509_);
  ASN1_TIME* now = X509_gmtime_adj(nullptr, -3600);
  ASN1_TIME* next = X509_gmtime_adj(nullptr, next_update_seconds);
  OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, nullptr, now, next);
  CHECK(OCSP_basic_sign(basic, x509_, key_, EVP_sha256(), nullptr, 0) == 1);
  OCSP_RESPONSE* response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
  unsigned char* der = nullptr;
  int n = i2d_OCSP_RESPONSE(response, &der);
  std::string text(reinterpret_cast<char*>(der), static_cast<size_t>(n));
  OPENSSL_free(der);
  OCSP_RESPONSE_free(response);
  OCSP_BASICRESP_free(basic);
  OCSP_CERTID_free(id);
  ASN1_TIME_free(now);
  ASN1_TIME_free(next);
  return text;
}

}  // namespace net
