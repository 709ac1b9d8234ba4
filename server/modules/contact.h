// Contact addresses of who runs the server (XEP-0157), as a form in its discovery information.
#pragma once

#include <string>
#include <vector>

#include "server/im/iq.h"

namespace server {

// URIs: "mailto:…", "xmpp:…", "https:…".
struct ContactOptions {
  std::vector<std::string> abuse;
  std::vector<std::string> admin;
  std::vector<std::string> feedback;
  std::vector<std::string> sales;
  std::vector<std::string> security;
  std::vector<std::string> status;
  std::vector<std::string> support;
};
void AddContact(IqTable& table, ModuleGround& ground, const ContactOptions& options);

}  // namespace server
