#include "server/dist/link_hello.h"

#include "net/base/text.h"

namespace server {
namespace {

constexpr std::string_view kHello = "hello";
constexpr std::string_view kRefused = "refused";
constexpr size_t kRefusalMax = 512;

std::optional<uint32_t> Version(const TermView& term) {
  auto value = term.AsInteger();
  if (!value || *value < 0 || *value > INT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

}  // namespace

Term LinkHelloTerm(const LinkHello& hello) {
  return Term::Tuple({Term::Atom(kHello), Term::Integer(hello.wire),
                      Term::Integer(hello.wire_oldest),
                      Term::Integer(static_cast<int64_t>(hello.features & INT64_MAX)),
                      Term::Binary(hello.version.substr(0, LinkHello::kVersionMax))});
}

Term LinkRefusalTerm(std::string_view why) {
  return Term::Tuple({Term::Atom(kRefused), Term::Binary(why.substr(0, kRefusalMax))});
}

std::optional<LinkHello> ReadLinkHello(const TermView& term) {
  // Later versions may add elements.
  auto fields = term.AsTuple();
  if (!fields || fields->size() < 5 || !(*fields)[0].IsAtom(kHello)) return std::nullopt;
  auto wire = Version((*fields)[1]);
  auto oldest = Version((*fields)[2]);
  auto features = (*fields)[3].AsInteger();
  auto version = (*fields)[4].AsText();
  if (!wire || !oldest || !features || *features < 0 || !version) return std::nullopt;
  return LinkHello{.wire = *wire,
                   .wire_oldest = *oldest,
                   .features = static_cast<uint64_t>(*features),
                   .version = net::Printable(*version, LinkHello::kVersionMax)};
}

std::optional<std::string> ReadLinkRefusal(const TermView& term) {
  auto fields = term.AsTuple();
  if (!fields || fields->size() != 2 || !(*fields)[0].IsAtom(kRefused)) return std::nullopt;
  auto why = (*fields)[1].AsText();
  if (!why) return std::nullopt;
  return net::Printable(*why, kRefusalMax);
}

std::expected<uint64_t, std::string> JudgeHello(const LinkHello& ours, const LinkHello& theirs) {
  if (theirs.wire < ours.wire_oldest || ours.wire < theirs.wire_oldest) {
    auto range = [](const LinkHello& hello) {
      return std::to_string(hello.wire_oldest) + ".." + std::to_string(hello.wire) + " (version " +
             hello.version + ")";
    };
    return std::unexpected("the nodes' messages differ: " + range(theirs) + " there, " +
                           range(ours) + " here; upgrade in smaller steps");
  }
  return ours.features & theirs.features;
}

}  // namespace server
