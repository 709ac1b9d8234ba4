#include "net/conn/dns_dial_lookup.h"

#include <memory>
#include <utility>

#include "net/dns/dns_client.h"
#include "net/dns/name_lookup.h"

namespace net {
namespace {

// `done` runs in the loop's turn, also where the pool is full: shared, since only one of the two
// gets it.
template <typename Result, typename Work>
void Ask(BlockingPool::Client& client, Work work, std::move_only_function<void(Result)> done,
         Result refused) {
  auto shared = std::make_shared<std::move_only_function<void(Result)>>(std::move(done));
  const bool taken = client.Run(std::move(work),
                                [shared](Result result) mutable { (*shared)(std::move(result)); });
  if (!taken)
    client.Post(
        [shared, refused = std::move(refused)]() mutable { (*shared)(std::move(refused)); });
}

}  // namespace

void DnsDialLookup::FindServices(const std::string& name,
                                 std::move_only_function<void(Services)> done) {
  Ask<Services>(
      client_,
      [name]() -> Services {
        DnsClient client;
        auto answer = client.Ask(SystemResolvers(), {.name = name, .type = DnsType::kSrv});
        if (!answer) return std::unexpected(answer.error());
        return std::move(answer->services);
      },
      std::move(done), std::unexpected(DnsFailure::kTimeout));
}

void DnsDialLookup::FindAddresses(const std::string& host,
                                  std::move_only_function<void(Addresses)> done) {
  Ask<Addresses>(
      client_, [host] { return NameLookup::AskSystem(host); }, std::move(done),
      std::unexpected(std::string("too many look-ups wait")));
}

}  // namespace net
