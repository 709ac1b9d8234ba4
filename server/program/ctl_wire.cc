#include "server/program/ctl_wire.h"

#include <array>
#include <utility>

namespace server {
namespace {

Term Texts(const std::vector<std::string>& texts) {
  std::vector<Term> terms;
  terms.reserve(texts.size());
  for (const std::string& text : texts) terms.push_back(Term::Binary(text));
  return Term::List(terms);
}
Term Number(uint64_t value) { return Term::Integer(static_cast<int64_t>(value)); }

// Takes the elements of a tuple one by one; whatever does not fit makes the whole unreadable. A
// newer node may put more behind.
class Fields {
 public:
  Fields(const TermView& term, size_t count) {
    auto fields = term.AsTuple();
    good_ = fields && fields->size() >= count;
    if (good_) fields_ = std::move(*fields);
  }
  bool good() const { return good_; }

  std::string Text() {
    return Take([](const TermView& t) { return t.AsText(); });
  }
  int64_t Integer() {
    return Take([](const TermView& t) { return t.AsInteger(); });
  }
  uint64_t Count() { return static_cast<uint64_t>(Integer()); }
  bool Truth() {
    return Take([](const TermView& t) { return t.AsAtom(); }) == "true";
  }
  std::vector<std::string> List() {
    return Take([](const TermView& t) -> std::optional<std::vector<std::string>> {
      auto elements = t.AsList();
      if (!elements) return std::nullopt;
      std::vector<std::string> texts;
      for (const TermView& element : *elements) {
        auto text = element.AsText();
        if (!text) return std::nullopt;
        texts.push_back(std::move(*text));
      }
      return texts;
    });
  }

 private:
  template <typename Read>
  auto Take(Read read) -> typename decltype(read(TermView()))::value_type {
    if (good_ && at_ < fields_.size()) {
      if (auto value = read(fields_[at_++])) return std::move(*value);
    }
    good_ = false;
    return {};
  }

  std::vector<TermView> fields_;
  size_t at_ = 0;
  bool good_ = false;
};

template <typename T, typename Read>
std::optional<std::vector<T>> ReadList(const TermView& term, Read read) {
  const auto elements = term.AsList();
  if (!elements) return std::nullopt;
  std::vector<T> list;
  for (const TermView& element : *elements) {
    auto one = read(element);
    if (!one) return std::nullopt;
    list.push_back(std::move(*one));
  }
  return list;
}

Term ToTerm(const CtlJson& json) {
  if (json.text()) return Term::Binary(json.Plain());
  if (json.scalar()) return Term::Tuple({Term::Atom("json"), Term::Binary(json.Pretty())});
  std::vector<Term> terms;
  for (const auto& [key, value] : json.values()) {
    terms.push_back(json.list() ? ToTerm(value) : Term::Tuple({Term::Binary(key), ToTerm(value)}));
  }
  return Term::Tuple({Term::Atom(json.list() ? "list" : "object"), Term::List(terms)});
}

// As deep as a term may be.
std::optional<CtlJson> ReadJson(const TermView& term) {
  if (auto text = term.AsText(); text && term.kind() == TermKind::kBinary) {
    return CtlJson::Text(*text);
  }
  const auto tuple = term.AsTuple();
  if (!tuple || tuple->size() != 2) return std::nullopt;
  if ((*tuple)[0].IsAtom("json")) {
    const auto written = (*tuple)[1].AsText();
    return written ? CtlJson::Parse(*written) : std::nullopt;
  }
  const bool list = (*tuple)[0].IsAtom("list");
  const auto elements = (*tuple)[1].AsList();
  if (!elements || (!list && !(*tuple)[0].IsAtom("object"))) return std::nullopt;
  CtlJson json = list ? CtlJson::List() : CtlJson::Object();
  for (const TermView& element : *elements) {
    const auto pair = list ? std::nullopt : element.AsTuple();
    if (!list && (!pair || pair->size() != 2)) return std::nullopt;
    auto value = ReadJson(list ? element : (*pair)[1]);
    const auto key = list ? std::optional<std::string>("") : (*pair)[0].AsText();
    if (!value || !key) return std::nullopt;
    if (list) {
      json.Add(std::move(*value));
    } else {
      json.Set(*key, std::move(*value));
    }
  }
  return json;
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

template <typename List>
Term PairsTerm(const List& pairs) {
  std::vector<Term> terms;
  for (const auto& [key, value] : pairs) {
    terms.push_back(Term::Tuple({Term::Binary(key), Term::Binary(value)}));
  }
  return Term::List(terms);
}

std::optional<Pairs> ReadPairs(const TermView& term) {
  return ReadList<Pairs::value_type>(
      term, [](const TermView& element) -> std::optional<Pairs::value_type> {
        const auto pair = element.AsTuple();
        if (!pair || pair->size() != 2) return std::nullopt;
        auto key = (*pair)[0].AsText();
        auto value = (*pair)[1].AsText();
        if (!key || !value) return std::nullopt;
        return Pairs::value_type(std::move(*key), std::move(*value));
      });
}

constexpr std::array<std::pair<OrderKind, std::string_view>, 3> kKinds = {{
    {OrderKind::kJoin, "join"},
    {OrderKind::kLeave, "leave"},
    {OrderKind::kRemove, "remove"},
}};

}  // namespace

Term ToTerm(const NodeFacts& f) {
  return Term::Tuple({Term::Binary(f.version), Term::Binary(f.commit), Term::Integer(f.os_pid),
                      Term::Integer(f.uptime_s), Term::Binary(f.status), Term::Binary(f.protocol),
                      Term::Binary(f.log_path), Term::Binary(f.directory)});
}

std::optional<NodeFacts> ReadFacts(const TermView& term) {
  Fields in(term, 8);
  NodeFacts f;
  f.version = in.Text();
  f.commit = in.Text();
  f.os_pid = static_cast<int>(in.Integer());
  f.uptime_s = in.Integer();
  f.status = in.Text();
  f.protocol = in.Text();
  f.log_path = in.Text();
  f.directory = in.Text();
  return in.good() ? std::optional(std::move(f)) : std::nullopt;
}

Term ToTerm(const NodeCluster& c) {
  return Term::Tuple({Texts(c.members), Texts(c.running), Texts(c.stopped), Texts(c.discovered),
                      Term::Boolean(c.discovery_works), Texts(c.conflict_nodes),
                      Texts(c.conflict_tables)});
}

std::optional<NodeCluster> ReadCluster(const TermView& term) {
  Fields in(term, 7);
  NodeCluster c;
  c.members = in.List();
  c.running = in.List();
  c.stopped = in.List();
  c.discovered = in.List();
  c.discovery_works = in.Truth();
  c.conflict_nodes = in.List();
  c.conflict_tables = in.List();
  return in.good() ? std::optional(std::move(c)) : std::nullopt;
}

Term ToTerm(const std::vector<NodeTable>& tables) {
  std::vector<Term> terms;
  for (const NodeTable& t : tables) {
    terms.push_back(Term::Tuple(
        {Term::Binary(t.name), Number(t.size), Number(t.memory_bytes), Term::Binary(t.digest)}));
  }
  return Term::List(terms);
}

std::optional<std::vector<NodeTable>> ReadTables(const TermView& term) {
  return ReadList<NodeTable>(term, [](const TermView& element) {
    Fields in(element, 4);
    NodeTable t;
    t.name = in.Text();
    t.size = in.Count();
    t.memory_bytes = in.Count();
    t.digest = in.Text();
    return in.good() ? std::optional(std::move(t)) : std::nullopt;
  });
}

Term ToTerm(const NodeStats& s) {
  return Term::Tuple({Term::Integer(s.uptime_s), Number(s.registered_users),
                      Number(s.online_users_node), Number(s.online_users), Number(s.incoming_s2s),
                      Number(s.outgoing_s2s)});
}

std::optional<NodeStats> ReadStats(const TermView& term) {
  Fields in(term, 6);
  NodeStats s;
  s.uptime_s = in.Integer();
  s.registered_users = in.Count();
  s.online_users_node = in.Count();
  s.online_users = in.Count();
  s.incoming_s2s = in.Count();
  s.outgoing_s2s = in.Count();
  return in.good() ? std::optional(s) : std::nullopt;
}

Term ToTerm(const std::vector<NodeMetric>& metrics) {
  std::vector<Term> terms;
  for (const NodeMetric& m : metrics) {
    terms.push_back(Term::Tuple({Texts(m.name), Term::Integer(m.value)}));
  }
  return Term::List(terms);
}

std::optional<std::vector<NodeMetric>> ReadMetrics(const TermView& term) {
  return ReadList<NodeMetric>(term, [](const TermView& element) {
    Fields in(element, 2);
    NodeMetric m;
    m.name = in.List();
    m.value = in.Integer();
    return in.good() ? std::optional(std::move(m)) : std::nullopt;
  });
}

Term ToTerm(const std::vector<NodeMetrics>& nodes) {
  std::vector<Term> terms;
  for (const NodeMetrics& one : nodes) {
    terms.push_back(
        Term::Tuple({Term::Binary(one.node), ToTerm(one.metrics), Term::Binary(one.error)}));
  }
  return Term::List(terms);
}

std::optional<std::vector<NodeMetrics>> ReadClusterMetrics(const TermView& term) {
  return ReadList<NodeMetrics>(term, [](const TermView& element) -> std::optional<NodeMetrics> {
    const auto parts = element.AsTuple();
    if (!parts || parts->size() < 3) return std::nullopt;
    auto node = (*parts)[0].AsText();
    auto metrics = ReadMetrics((*parts)[1]);
    auto error = (*parts)[2].AsText();
    if (!node || !metrics || !error) return std::nullopt;
    return NodeMetrics{std::move(*node), std::move(*metrics), std::move(*error)};
  });
}

Term NamesTerm(const std::vector<std::string>& names) { return Texts(names); }

std::optional<std::vector<std::string>> ReadNames(const TermView& term) {
  return ReadList<std::string>(term, [](const TermView& element) { return element.AsText(); });
}

Term ToTerm(const OrderResult& result) {
  return Term::Tuple(
      {Term::Integer(static_cast<int>(result.outcome)), Term::Binary(result.detail)});
}

std::optional<OrderResult> ReadOrderResult(const TermView& term) {
  Fields in(term, 2);
  const int64_t outcome = in.Integer();
  std::string detail = in.Text();
  if (!in.good() || outcome < 0 || outcome >= kOutcomes) return std::nullopt;
  return OrderResult{static_cast<Outcome>(outcome), std::move(detail)};
}

std::vector<Term> ToTerms(const OrderRequest& request) {
  std::string_view kind;
  for (const auto& [known, name] : kKinds) {
    if (known == request.kind) kind = name;
  }
  return {Term::Atom(kind), Term::Binary(request.target), Term::Boolean(request.force)};
}

std::optional<OrderRequest> ReadOrderRequest(std::span<const TermView> args) {
  if (args.size() != 3) return std::nullopt;
  auto target = args[1].AsText();
  if (!target || (!args[2].IsAtom("true") && !args[2].IsAtom("false"))) return std::nullopt;
  for (const auto& [kind, name] : kKinds) {
    if (args[0].IsAtom(name)) {
      return OrderRequest{kind, std::move(*target), args[2].IsAtom("true")};
    }
  }
  return std::nullopt;
}

std::vector<Term> ToTerms(const XmppRequest& request) {
  return {Term::Binary(request.category), Term::Binary(request.command),
          PairsTerm(request.arguments)};
}

std::optional<XmppRequest> ReadXmppRequest(std::span<const TermView> args) {
  if (args.size() != 3) return std::nullopt;
  auto category = args[0].AsText();
  auto command = args[1].AsText();
  auto pairs = ReadPairs(args[2]);
  if (!category || !command || !pairs || pairs->size() > kCtlArgumentsMax) return std::nullopt;
  XmppRequest request{
      .category = std::move(*category), .command = std::move(*command), .arguments = {}};
  for (auto& [name, value] : *pairs) request.arguments[std::move(name)] = std::move(value);
  return request;
}

std::vector<Term> PassedTerms(const XmppRequest& request) {
  std::vector<Term> terms = ToTerms(request);
  terms.push_back(Number(request.hops));
  return terms;
}

std::optional<XmppRequest> ReadPassedRequest(std::span<const TermView> args) {
  if (args.size() != 4) return std::nullopt;
  auto request = ReadXmppRequest(args.first(3));
  const auto hops = args[3].AsInteger();
  if (!request || !hops || *hops < 1 || *hops > UINT8_MAX) return std::nullopt;
  request->hops = static_cast<uint8_t>(*hops);
  return request;
}

Term ToTerm(const CtlAnswer& answer) {
  std::vector<Term> faults;
  for (const CtlFault& fault : answer.faults) {
    faults.push_back(Term::Tuple({Term::Binary(fault.message), PairsTerm(fault.extensions)}));
  }
  return Term::Tuple({ToTerm(answer.data), Term::List(faults)});
}

std::optional<CtlAnswer> ReadCtlAnswer(const TermView& term) {
  const auto fields = term.AsTuple();
  if (!fields || fields->size() < 2) return std::nullopt;
  auto data = ReadJson((*fields)[0]);
  auto faults =
      ReadList<CtlFault>((*fields)[1], [](const TermView& element) -> std::optional<CtlFault> {
        const auto parts = element.AsTuple();
        if (!parts || parts->size() != 2) return std::nullopt;
        auto message = (*parts)[0].AsText();
        auto extensions = ReadPairs((*parts)[1]);
        if (!message || !extensions) return std::nullopt;
        return CtlFault{std::move(*message), std::move(*extensions)};
      });
  if (!data || !faults) return std::nullopt;
  return CtlAnswer{std::move(*data), std::move(*faults)};
}

std::vector<Term> ToTerms(const AccountRequest& r) {
  return {Number(static_cast<uint64_t>(r.action)), Term::Binary(r.user), Term::Binary(r.password),
          Number(r.limit), Number(r.index)};
}

std::optional<AccountRequest> ReadAccountRequest(std::span<const TermView> args) {
  if (args.size() != 5) return std::nullopt;
  const auto action = args[0].AsInteger();
  const auto user = args[1].AsText();
  const auto password = args[2].AsText();
  const auto limit = args[3].AsInteger();
  const auto index = args[4].AsInteger();
  if (!action || !user || !password || !limit || !index || *limit < 0 || *index < 0) {
    return std::nullopt;
  }
  if (*action < 0 || *action > static_cast<int64_t>(AccountAction::kCount)) return std::nullopt;
  return AccountRequest{.action = static_cast<AccountAction>(*action),
                        .user = *user,
                        .password = *password,
                        .limit = static_cast<uint64_t>(*limit),
                        .index = static_cast<uint64_t>(*index)};
}

Term ToTerm(const AccountResult& r) {
  return Term::Tuple({Number(static_cast<uint64_t>(r.outcome)), Term::Binary(r.detail),
                      Texts(r.names), Number(r.count)});
}

std::optional<AccountResult> ReadAccountResult(const TermView& term) {
  Fields in(term, 4);
  const int64_t outcome = in.Integer();
  AccountResult result;
  result.detail = in.Text();
  result.names = in.List();
  result.count = in.Count();
  if (!in.good() || outcome < 0 || outcome > static_cast<int64_t>(AccountOutcome::kNoXmpp)) {
    return std::nullopt;
  }
  result.outcome = static_cast<AccountOutcome>(outcome);
  return result;
}

}  // namespace server
