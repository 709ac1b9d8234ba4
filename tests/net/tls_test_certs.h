// Certificates made at run time, so that no key lies in the repository. Each goes into a folder
// that is removed with the object.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <string>
#include <vector>

#include "tests/test_folder.h"

namespace net {

struct TestCertificateOptions {
  std::string common_name = "example.org";
  std::vector<std::string> dns_names = {"example.org"};
  std::vector<std::string> xmpp_addrs = {};
  std::vector<std::string> srv_names = {};
  std::string key_type = "P-256";  // or "P-384", "RSA2048", "RSA1024", "ED25519"
  bool is_ca = false;
  long not_before_days = -1;
  long not_after_days = 90;
};

class TestCertificate {
 public:
  // Signed by `issuer`, or by itself.
  explicit TestCertificate(const TestCertificateOptions& options,
                           const TestCertificate* issuer = nullptr);
  ~TestCertificate();
  TestCertificate(const TestCertificate&) = delete;
  TestCertificate& operator=(const TestCertificate&) = delete;

  X509* x509() const { return x509_; }
  EVP_PKEY* key() const { return key_; }
  std::string chain_pem() const;
  std::string key_pem() const;
  // An empty or one-entry CRL of this CA, PEM.
  std::string CrlPem(const std::vector<const TestCertificate*>& revoked) const;
  // A DER OCSP response that says "good" for `subject`, signed by this CA.
  std::string OcspDer(const TestCertificate& subject, long next_update_seconds) const;

 private:
  X509* x509_ = nullptr;
  EVP_PKEY* key_ = nullptr;
};

}  // namespace net
