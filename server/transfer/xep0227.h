// The portable format of servers (XEP-0227): <server-data><host><user/></host></server-data>, with
// SCRAM's keys, offline messages and archives; of one file, of a folder's *.xml, and of what they
// include.
//
// Read as a stream: at any time one user is in memory, and of a file what is being read.
#pragma once

#include <deque>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/xmpp/stream_xml.h"
#include "server/transfer/user_source.h"
#include "server/xmpp/stanza.h"

namespace server {

inline constexpr std::string_view kPieSpace = "urn:xmpp:pie:0";
// Of what is no message: a vCard, a roster.
inline constexpr size_t kTransferElementBytesMax = 16 * 1024 * 1024;
inline constexpr size_t kTransferUserBytesMax = 1024 * 1024 * 1024;

class Xep0227Source final : public UserSource, private net::XmlHandler {
 public:
  // `now_us`: the time of messages without one. The error says what is wrong with the path.
  static std::expected<std::unique_ptr<Xep0227Source>, std::string> Open(const std::string& path,
                                                                         int64_t now_us);
  ~Xep0227Source() override;

  std::expected<std::optional<UserData>, Failure> Next() override;

 private:
  struct File {
    std::string path;
    std::string host;  // of the <host/> that includes it; "": of none
  };
  enum class Within : uint8_t { kNothing, kOffline, kArchive };

  explicit Xep0227Source(int64_t now_us) : now_us_(now_us) {}
  bool OnStart(int depth, const net::XmlName& name, const net::XmlAttributes& attributes,
               std::string_view content_space) override;
  bool OnEnd(int depth, const net::XmlName& name) override;
  bool OnText(int depth, std::string_view text) override;

  bool OpenNext();  // false: there is none, or it cannot be read
  bool ReadSome();  // false: failed
  bool StartUser(const net::XmlAttributes& attributes);
  bool StartInUser(int level, const net::XmlName& name, const net::XmlAttributes& attributes);
  bool Include(const net::XmlAttributes& attributes);
  bool Fail(std::string what);
  void Take(const XmlElement& element);
  void TakeRoster(const XmlElement& query);
  void TakeKeys(const XmlElement& credentials);
  void TakeMessage(const XmlElement& element);

  const int64_t now_us_;
  std::deque<File> files_;  // to be read
  File file_;
  std::ifstream in_;
  std::unique_ptr<net::StreamXml> xml_;  // none between files
  size_t user_began_ = 0;

  int base_ = 0;   // the level of the file's root: 0 server-data, 1 host, 2 user
  int skip_ = -1;  // the level of an element that is none of ours
  Within within_ = Within::kNothing;
  std::string host_;
  std::unique_ptr<UserData> user_;
  std::unique_ptr<Stanza> element_;
  std::deque<UserData> whole_;
  std::string error_;
};

// --- Writing, in pieces. Pure.

void AppendXep0227Start(std::string& out);
void AppendXep0227Host(std::string& out, std::string_view domain);
// <user> with its account, roster and blocking list; open.
void AppendXep0227User(std::string& out, std::string_view local, const LoadedUser& user);
inline constexpr std::string_view kXep0227OfflineStart = "<offline-messages>";
inline constexpr std::string_view kXep0227OfflineEnd = "</offline-messages>";
void AppendXep0227Offline(std::string& out, const OfflineEntry& entry);
// <result/> of one message, within AppendXep0227Archive's element.
inline constexpr std::string_view kXep0227ArchiveStart = "<archive xmlns='urn:xmpp:pie:0#mam'>";
inline constexpr std::string_view kXep0227ArchiveEnd = "</archive>";
void AppendXep0227Archived(std::string& out, const ArchiveEntry& entry);
inline constexpr std::string_view kXep0227UserEnd = "</user>\n";
inline constexpr std::string_view kXep0227HostEnd = "</host>\n";
inline constexpr std::string_view kXep0227End = "</server-data>\n";

}  // namespace server
