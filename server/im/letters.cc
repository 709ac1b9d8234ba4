#include "server/im/letters.h"

#include <memory>
#include <utility>

#include "net/base/byte_reader.h"
#include "net/base/byte_writer.h"
#include "net/base/hash.h"
#include "server/im/message_bytes.h"

namespace server {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t kShort = 2;  // bytes of a length: addresses, ids
constexpr size_t kLong = 4;   // of XML
constexpr size_t kJidBytesMax = 3 * Jid::kPartBytesMax + 2;
// Far above every limit of a user and a session (HomeLimits).
constexpr size_t kSessionsMax = 10'000;
constexpr size_t kDirectedMax = 100'000;

// --- Writing. A text that does not fit its length spoils the letter.

class Writer {
 public:
  explicit Writer(Bytes& out) : out_(out) {}
  bool good() const { return good_; }

  void Number(uint64_t value, size_t bytes) { net::AppendNumber(&out_, value, bytes); }
  void Text(std::string_view text, size_t length_bytes) {
    good_ = good_ &&
            (length_bytes == kLong ? text.size() <= kLetterBytesMax : text.size() <= UINT16_MAX);
    if (!good_) return;
    Number(text.size(), length_bytes);
    net::AppendBytes(&out_, net::BytesOf(text));
  }
  void Session(const SessionId& id) {
    Number(id.worker, 2);
    Number(id.place, 4);
    Number(id.life, 8);
  }
  void User(const Jid& jid) { Text(jid.full(), kShort); }
  void Flags(std::initializer_list<bool> flags) {
    uint64_t bits = 0;
    for (const bool flag : flags) bits = bits << 1U | (flag ? 1 : 0);
    Number(bits, 2);
  }

 private:
  Bytes& out_;
  bool good_ = true;
};

struct Reader : net::ByteReader {
  using net::ByteReader::ByteReader;

  std::string Text(size_t length_bytes) {
    const auto bytes = Vector(length_bytes);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  SessionId Session(uint16_t node) {
    SessionId id;
    id.worker = static_cast<uint16_t>(Number(2));
    id.node = node;
    id.place = static_cast<uint32_t>(Number(4));
    id.life = Number(8);
    return id;
  }
  Jid User() {
    std::string text = Text(kShort);
    if (text.empty() || text.size() > kJidBytesMax) Spoil();
    return Jid::OfPrepared(ok() ? std::move(text) : "invalid");
  }
  template <typename Enum>
  Enum Of(Enum last) {
    const size_t value = Number(1);
    if (value > static_cast<size_t>(last)) Spoil();
    return ok() ? static_cast<Enum>(value) : Enum{};
  }
  void Spoil() { Take(SIZE_MAX); }
};

// The first flag is the highest bit.
class Flags {
 public:
  Flags(size_t bits, int count) : bits_(bits), next_(count) {}
  bool Next() { return (bits_ >> static_cast<unsigned>(--next_) & 1U) != 0; }

 private:
  size_t bits_;
  int next_;
};

void Write(Writer& out, const BindRequest& bind) {
  out.Session(bind.session);
  out.User(bind.user);
  out.Text(bind.resource, kShort);
  out.Text(bind.address, kShort);
  out.Flags({bind.resumable, bind.secure});
}
BindRequest ReadBind(Reader& in, uint16_t node) {
  BindRequest bind{.session = in.Session(node),
                   .user = in.User(),
                   .resource = in.Text(kShort),
                   .loaded = nullptr,
                   .address = in.Text(kShort)};
  Flags flags(in.Number(2), 2);
  bind.resumable = flags.Next();
  bind.secure = flags.Next();
  return bind;
}

void Write(Writer& out, const ArriveLetter& letter) {
  out.Session(letter.session);
  out.User(letter.user);
  out.Number(letter.number, 4);
  std::string xml;
  letter.stanza.AppendTo(xml, kClientSpace, {});
  out.Text(xml, kLong);
}
std::optional<Letter> ReadArrive(Reader& in, uint16_t node) {
  ArriveLetter letter{.session = in.Session(node), .user = in.User()};
  letter.number = static_cast<uint32_t>(in.Number(4));
  auto stanza = ParseStanza(in.Text(kLong), kClientSpace);
  if (!in.ok() || !stanza) return std::nullopt;
  letter.stanza = std::move(*stanza);
  return letter;
}

void Write(Writer& out, const ChangedLetter& letter) {
  out.Session(letter.session);
  out.User(letter.user);
  out.Flags({letter.state.resumable, letter.state.detached, letter.state.active});
  // An older node knows no tags, and takes no letter that has one.
  if (letter.state.resume_tag != 0) out.Number(letter.state.resume_tag, 8);
}
ChangedLetter ReadChanged(Reader& in, uint16_t node) {
  ChangedLetter letter{.session = in.Session(node), .user = in.User()};
  Flags flags(in.Number(2), 3);
  letter.state.resumable = flags.Next();
  letter.state.detached = flags.Next();
  letter.state.active = flags.Next();
  if (in.ok() && !in.done()) letter.state.resume_tag = in.Number(8);
  return letter;
}

void Write(Writer& out, const DeliveryEndedLetter& letter) {
  out.Session(letter.session);
  out.User(letter.user);
  out.Number(letter.ticket, 8);
  out.Number(static_cast<uint64_t>(letter.end), 1);
}
DeliveryEndedLetter ReadDeliveryEnded(Reader& in, uint16_t node) {
  DeliveryEndedLetter letter{.session = in.Session(node), .user = in.User()};
  letter.ticket = in.Number(8);
  letter.end = in.Of(DeliveryEnd::kLost);
  return letter;
}

void Write(Writer& out, const GoneLetter& letter) {
  out.Session(letter.session);
  out.User(letter.user);
}

void Write(Writer& out, const MessageTraits& t) {
  out.Flags({t.body, t.subject_only, t.chat_state, t.receipt, t.store, t.no_store, t.no_permanent,
             t.no_copy, t.private_, t.carbon, t.muc_user, t.encrypted});
}
MessageTraits ReadTraits(Reader& in) {
  Flags flags(in.Number(2), 12);
  MessageTraits t;
  t.body = flags.Next();
  t.subject_only = flags.Next();
  t.chat_state = flags.Next();
  t.receipt = flags.Next();
  t.store = flags.Next();
  t.no_store = flags.Next();
  t.no_permanent = flags.Next();
  t.no_copy = flags.Next();
  t.private_ = flags.Next();
  t.carbon = flags.Next();
  t.muc_user = flags.Next();
  t.encrypted = flags.Next();
  return t;
}

void Write(Writer& out, const RouteLetter& letter) {
  const Parcel& parcel = letter.parcel;
  out.Number(letter.hops, 1);
  out.Number(static_cast<uint64_t>(parcel.kind), 1);
  out.Number(static_cast<uint64_t>(parcel.type), 1);
  Write(out, parcel.traits);
  out.User(parcel.from);
  out.User(parcel.to);
  out.Text(parcel.id, kLong);
  out.Text(parcel.lang, kLong);
  if (letter.content == 0) {
    out.Text(parcel.content_view(), kLong);
  } else {
    out.Number(letter.content, 4);
  }
  out.Session(parcel.mark.session);
  out.Number(parcel.mark.number, 4);
  out.Text(parcel.iq_name, kLong);
  out.Text(parcel.iq_space, kLong);
}
RouteLetter ReadRoute(Reader& in, uint16_t node, bool shared) {
  const auto hops = static_cast<uint8_t>(in.Number(1));
  const auto kind = in.Of(StanzaKind::kIq);
  const auto type = in.Of(StanzaType::kError);
  const MessageTraits traits = ReadTraits(in);
  Jid from = in.User();
  Jid to = in.User();
  Parcel parcel{.kind = kind,
                .type = type,
                .traits = traits,
                .from = std::move(from),
                .to = std::move(to),
                .id = in.Text(kLong),
                .lang = in.Text(kLong),
                .content = nullptr,
                .mark = {},
                .iq_name = {},
                .iq_space = {}};
  uint32_t number = 0;
  if (shared) {
    number = static_cast<uint32_t>(in.Number(4));
    if (number == 0) in.Spoil();
  } else if (std::string content = in.Text(kLong); !content.empty()) {
    parcel.content = ContentOf(kind, std::move(content));
  }
  parcel.mark.session = in.Session(node);
  parcel.mark.number = static_cast<uint32_t>(in.Number(4));
  parcel.iq_name = in.Text(kLong);
  parcel.iq_space = in.Text(kLong);
  return {.parcel = std::move(parcel), .hops = hops, .content = number};
}

void Write(Writer& out, const ContentLetter& letter) {
  out.Number(letter.number, 4);
  out.Number(static_cast<uint64_t>(letter.kind), 1);
  out.Text(*letter.content, kLong);
}
ContentLetter ReadContentLetter(Reader& in) {
  ContentLetter letter{.number = static_cast<uint32_t>(in.Number(4)),
                       .kind = in.Of(StanzaKind::kIq),
                       .content = nullptr};
  std::string content = in.Text(kLong);
  if (letter.number == 0 || content.empty()) in.Spoil();
  letter.content = ContentOf(letter.kind, std::move(content));
  return letter;
}
void Write(Writer&, const ContentEndLetter&) {}

void Write(Writer& out, const BindFailedLetter& letter) {
  out.Session(letter.session);
  out.User(letter.user);
  out.Text(letter.error, kLong);
  out.Flags({letter.not_home});
}
void Write(Writer& out, const ClaimLetter& letter) { out.User(letter.user); }
void Write(Writer& out, const ClaimedLetter& letter) {
  out.User(letter.user);
  out.Text(letter.node, kShort);
  out.Flags({letter.changed});
}
void Write(Writer& out, const LookLetter& letter) { out.User(letter.user); }
void Write(Writer& out, const ExpelLetter& letter) {
  out.User(letter.user);
  out.Text(letter.text, kShort);
}
void Write(Writer& out, const BoundLetter& letter) {
  out.Session(letter.session);
  out.User(letter.full);
}

void Write(Writer& out, const DeliverLetter& letter) {
  const Delivery& delivery = letter.delivery;
  out.Session(letter.session);
  out.Number(letter.from, 2);
  out.Number(static_cast<uint64_t>(delivery.kind), 1);
  out.Flags({delivery.message_of_people});
  out.Number(delivery.ticket, 8);
  out.Text(delivery.replaces, kShort);
  out.Text(delivery.xml, kLong);
}
DeliverLetter ReadDeliver(Reader& in) {
  DeliverLetter letter{.session = in.Session(0)};
  letter.from = static_cast<uint16_t>(in.Number(2));
  letter.delivery.kind = in.Of(StanzaKind::kIq);
  letter.delivery.message_of_people = in.Number(2) != 0;
  letter.delivery.ticket = in.Number(8);
  letter.delivery.replaces = in.Text(kShort);
  letter.delivery.xml = in.Text(kLong);
  return letter;
}

void Write(Writer& out, const SettledLetter& letter) {
  out.Session(letter.session);
  out.Number(letter.number, 4);
}
void Write(Writer& out, const CloseLetter& letter) {
  out.Session(letter.session);
  out.Number(static_cast<uint64_t>(letter.error), 1);
  out.Text(letter.text, kShort);
}
void Write(Writer& out, const ResumeLetter& letter) {
  out.Session(letter.session);
  out.User(letter.user);
  out.Number(letter.tag, 8);
}
void Write(Writer& out, const LeaveLetter& letter) {
  out.Session(letter.session);
  out.Session(letter.next);
  out.Text(letter.node, kShort);
  out.User(letter.user);
}
void Write(Writer& out, const SessionLetter& letter) {
  out.Session(letter.session);
  out.Text(letter.state, kLong);
}
void Write(Writer& out, const ResumeFailedLetter& letter) { out.Session(letter.session); }

// --- Homes that move.

void Write(Writer& out, const HomeLeavesLetter& letter) {
  out.User(letter.user);
  out.Number(letter.round, 4);
}
void Write(Writer& out, const HomeHeldLetter& letter) {
  out.User(letter.user);
  out.Number(letter.round, 4);
}
void Write(Writer& out, const HomeStaysLetter& letter) { out.User(letter.user); }
void Write(Writer& out, const HomeRefusedLetter& letter) { out.User(letter.user); }
void Write(Writer& out, const HomeHereLetter& letter) {
  out.User(letter.user);
  out.Number(letter.sessions.size(), 2);
  for (const SessionId& session : letter.sessions) out.Session(session);
}

void Write(Writer& out, const MovedSession& session) {
  out.Session(session.id);
  out.Text(session.node, kShort);
  out.Text(session.resource, kShort);
  out.Flags({session.available, session.interested, session.blocklist, session.carbons,
             session.detached, session.resumable, session.secure, session.behind,
             session.presence.has_value()});
  if (session.presence) out.Text(*session.presence, kLong);
  out.Number(session.directed.size(), 4);
  for (const std::string& to : session.directed) out.Text(to, kShort);
  out.Number(session.resume_tag, 8);
  out.Number(static_cast<uint8_t>(session.priority), 1);
}
MovedSession ReadMovedSession(Reader& in) {
  MovedSession session;
  session.id = in.Session(0);
  session.node = in.Text(kShort);
  session.resource = in.Text(kShort);
  Flags flags(in.Number(2), 9);
  session.available = flags.Next();
  session.interested = flags.Next();
  session.blocklist = flags.Next();
  session.carbons = flags.Next();
  session.detached = flags.Next();
  session.resumable = flags.Next();
  session.secure = flags.Next();
  session.behind = flags.Next();
  if (flags.Next()) session.presence = in.Text(kLong);
  const size_t directed = in.Number(4);
  if (directed > kDirectedMax) in.Spoil();
  for (size_t i = 0; i < directed && in.ok(); ++i) session.directed.push_back(in.Text(kShort));
  session.resume_tag = in.Number(8);
  session.priority = static_cast<int8_t>(in.Number(1));
  return session;
}
void Write(Writer& out, const HomeStateLetter& letter) {
  out.User(letter.user);
  out.Number(letter.sessions.size(), 4);
  for (const MovedSession& session : letter.sessions) Write(out, session);
}
HomeStateLetter ReadHomeState(Reader& in) {
  HomeStateLetter letter{.user = in.User(), .sessions = {}};
  const size_t count = in.Number(4);
  if (count > kSessionsMax) in.Spoil();
  for (size_t i = 0; i < count && in.ok(); ++i) letter.sessions.push_back(ReadMovedSession(in));
  return letter;
}
HomeHereLetter ReadHomeHere(Reader& in) {
  HomeHereLetter letter{.user = in.User(), .sessions = {}};
  const size_t count = in.Number(2);
  for (size_t i = 0; i < count && in.ok(); ++i) letter.sessions.push_back(in.Session(0));
  return letter;
}

void Write(Writer& out, const TicketLostLetter& letter) {
  out.Number(letter.worker, 2);
  out.Number(letter.ticket, 8);
}

// --- Heads.

LetterHead Home(LetterKind kind, const Jid& user) {
  return {.kind = kind, .for_whom = HomeHash(user.bare())};
}
LetterHead At(LetterKind kind, uint16_t worker) { return {.kind = kind, .for_whom = worker}; }

struct HeadOf {
  LetterHead operator()(const BindRequest& l) const { return Home(LetterKind::kBind, l.user); }
  LetterHead operator()(const ArriveLetter& l) const { return Home(LetterKind::kArrive, l.user); }
  LetterHead operator()(const ChangedLetter& l) const { return Home(LetterKind::kChanged, l.user); }
  LetterHead operator()(const DeliveryEndedLetter& l) const {
    return Home(LetterKind::kDeliveryEnded, l.user);
  }
  LetterHead operator()(const GoneLetter& l) const { return Home(LetterKind::kGone, l.user); }
  LetterHead operator()(const RouteLetter& l) const {
    return Home(l.content == 0 ? LetterKind::kRoute : LetterKind::kRouteShared, l.parcel.to);
  }
  LetterHead operator()(const ContentLetter&) const { return {.kind = LetterKind::kContent}; }
  LetterHead operator()(const ContentEndLetter&) const { return {.kind = LetterKind::kContentEnd}; }
  LetterHead operator()(const BindFailedLetter& l) const {
    return Home(LetterKind::kBindFailed, l.user);
  }
  LetterHead operator()(const ClaimLetter& l) const { return Home(LetterKind::kClaim, l.user); }
  LetterHead operator()(const ClaimedLetter& l) const { return Home(LetterKind::kClaimed, l.user); }
  LetterHead operator()(const ExpelLetter& l) const { return Home(LetterKind::kExpel, l.user); }
  LetterHead operator()(const ResumeLetter& l) const { return Home(LetterKind::kResume, l.user); }
  LetterHead operator()(const HomeLeavesLetter& l) const {
    return Home(LetterKind::kHomeLeaves, l.user);
  }
  LetterHead operator()(const HomeHeldLetter& l) const {
    return Home(LetterKind::kHomeHeld, l.user);
  }
  LetterHead operator()(const HomeStateLetter& l) const {
    return Home(LetterKind::kHomeState, l.user);
  }
  LetterHead operator()(const HomeHereLetter& l) const {
    return Home(LetterKind::kHomeHere, l.user);
  }
  LetterHead operator()(const HomeStaysLetter& l) const {
    return Home(LetterKind::kHomeStays, l.user);
  }
  LetterHead operator()(const HomeRefusedLetter& l) const {
    return Home(LetterKind::kHomeRefused, l.user);
  }
  LetterHead operator()(const LeaveLetter& l) const {
    return At(LetterKind::kLeave, l.session.worker);
  }
  LetterHead operator()(const SessionLetter& l) const {
    return At(LetterKind::kSession, l.session.worker);
  }
  LetterHead operator()(const ResumeFailedLetter& l) const {
    return At(LetterKind::kResumeFailed, l.session.worker);
  }
  LetterHead operator()(const LookLetter& l) const { return Home(LetterKind::kLook, l.user); }
  LetterHead operator()(const BoundLetter& l) const {
    return At(LetterKind::kBound, l.session.worker);
  }
  LetterHead operator()(const DeliverLetter& l) const {
    return At(LetterKind::kDeliver, l.session.worker);
  }
  LetterHead operator()(const SettledLetter& l) const {
    return At(LetterKind::kSettled, l.session.worker);
  }
  LetterHead operator()(const CloseLetter& l) const {
    return At(LetterKind::kClose, l.session.worker);
  }
  LetterHead operator()(const TicketLostLetter& l) const {
    return At(LetterKind::kTicketLost, l.worker);
  }
};

}  // namespace

uint64_t HomeHash(std::string_view bare) { return net::StableHash(bare); }

bool AppendLetter(std::vector<uint8_t>& out, const Letter& letter) {
  const size_t before = out.size();
  const LetterHead head = std::visit(HeadOf{}, letter);
  net::AppendNumber(&out, static_cast<size_t>(head.kind), 1);
  net::AppendNumber(&out, head.for_whom, 8);
  Writer writer(out);
  {
    const net::Sized sized(&out, 4);
    std::visit([&](const auto& one) { Write(writer, one); }, letter);
  }
  if (writer.good() && out.size() - before <= kLetterHeadBytes + kLetterBytesMax) return true;
  out.resize(before);
  return false;
}

std::optional<LetterHead> ReadLetterHead(std::span<const uint8_t> bytes) {
  if (bytes.size() < kLetterHeadBytes) return std::nullopt;
  net::ByteReader in(bytes);
  LetterHead head;
  head.kind = static_cast<LetterKind>(in.Number(1));
  head.for_whom = in.Number(8);
  head.size = static_cast<uint32_t>(in.Number(4));
  return head;
}

std::optional<Letter> ReadLetter(LetterKind kind, std::span<const uint8_t> body, uint16_t node) {
  Reader in(body);
  const auto read = [&]() -> std::optional<Letter> {
    switch (kind) {
      case LetterKind::kBind:
        return ReadBind(in, node);
      case LetterKind::kArrive:
        return ReadArrive(in, node);
      case LetterKind::kChanged:
        return ReadChanged(in, node);
      case LetterKind::kDeliveryEnded:
        return ReadDeliveryEnded(in, node);
      case LetterKind::kGone:
        return GoneLetter{.session = in.Session(node), .user = in.User()};
      case LetterKind::kRoute:
        return ReadRoute(in, node, false);
      case LetterKind::kRouteShared:
        return ReadRoute(in, node, true);
      case LetterKind::kContent:
        return ReadContentLetter(in);
      case LetterKind::kContentEnd:
        return ContentEndLetter{};
      case LetterKind::kBindFailed:
        return BindFailedLetter{.session = in.Session(0),
                                .user = in.User(),
                                .error = in.Text(kLong),
                                .not_home = in.Number(2) != 0};
      case LetterKind::kClaim:
        return ClaimLetter{.user = in.User()};
      case LetterKind::kClaimed:
        return ClaimedLetter{
            .user = in.User(), .node = in.Text(kShort), .changed = in.Number(2) != 0};
      case LetterKind::kExpel:
        return ExpelLetter{.user = in.User(), .text = in.Text(kShort)};
      case LetterKind::kResume:
        return ResumeLetter{.session = in.Session(node), .user = in.User(), .tag = in.Number(8)};
      case LetterKind::kHomeLeaves:
        return HomeLeavesLetter{.user = in.User(), .round = static_cast<uint32_t>(in.Number(4))};
      case LetterKind::kHomeHeld:
        return HomeHeldLetter{.user = in.User(), .round = static_cast<uint32_t>(in.Number(4))};
      case LetterKind::kHomeState:
        return ReadHomeState(in);
      case LetterKind::kHomeHere:
        return ReadHomeHere(in);
      case LetterKind::kHomeStays:
        return HomeStaysLetter{.user = in.User()};
      case LetterKind::kHomeRefused:
        return HomeRefusedLetter{.user = in.User()};
      case LetterKind::kLeave:
        return LeaveLetter{.session = in.Session(0),
                           .next = in.Session(0),
                           .node = in.Text(kShort),
                           .user = in.User()};
      case LetterKind::kSession:
        return SessionLetter{.session = in.Session(0), .state = in.Text(kLong)};
      case LetterKind::kResumeFailed:
        return ResumeFailedLetter{.session = in.Session(0)};
      case LetterKind::kLook:
        return LookLetter{.user = in.User()};
      case LetterKind::kBound:
        return BoundLetter{.session = in.Session(0), .full = in.User()};
      case LetterKind::kDeliver:
        return ReadDeliver(in);
      case LetterKind::kSettled:
        return SettledLetter{.session = in.Session(0),
                             .number = static_cast<uint32_t>(in.Number(4))};
      case LetterKind::kClose:
        return CloseLetter{.session = in.Session(0),
                           .error = in.Of(net::StreamError::kUnsupportedVersion),
                           .text = in.Text(kShort)};
      case LetterKind::kTicketLost:
        return TicketLostLetter{.worker = static_cast<uint16_t>(in.Number(2)),
                                .ticket = in.Number(8)};
    }
    return std::nullopt;
  };
  std::optional<Letter> letter = read();
  // What an own node of a later build appended is not read.
  if (!letter || !in.ok()) return std::nullopt;
  return letter;
}

}  // namespace server
