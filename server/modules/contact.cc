#include "server/modules/contact.h"

#include "server/modules/data_form.h"

namespace server {

void AddContact(IqTable& table, ModuleGround&, const ContactOptions& options) {
  DataForm form{.type = "result",
                .fields = {{.var = "FORM_TYPE",
                            .type = "hidden",
                            .values = {"http://jabber.org/network/serverinfo"}}}};
  const auto add = [&form](const char* var, const std::vector<std::string>& addresses) {
    if (addresses.empty()) return;
    form.fields.push_back({.var = var, .type = "list-multi", .values = addresses});
  };
  add("abuse-addresses", options.abuse);
  add("admin-addresses", options.admin);
  add("feedback-addresses", options.feedback);
  add("sales-addresses", options.sales);
  add("security-addresses", options.security);
  add("status-addresses", options.status);
  add("support-addresses", options.support);
  if (form.fields.size() == 1) return;
  std::string xml;
  AppendDataForm(xml, form);
  table.Form(std::move(xml));
}

}  // namespace server
