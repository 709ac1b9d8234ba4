// Dialogues: plain text of who sends what and who gets what, one scene a rule (tests/dialogues/).
//
//   == A message to the account goes to its session
//   accounts alice bob
//   friends alice bob both
//   alice/phone is online
//   bob/desk is online
//   alice/phone sends
//     <message to='bob@a.example'><body>hi</body></message>
//   bob/desk gets
//     <message from='alice@a.example/phone' to='bob@a.example'><body>hi</body></message>
//   bob/desk gets nothing
//
// A template is XML: elements in order, attributes and text equal; '*' is anything; an id that the
// template does not name is not looked at. Verbs beside those: "connects", "forgets" (what it got),
// "everyone forgets", "leaves", "is lost" (with what it did not take), "holds" (takes nothing),
// "takes" (all that it held), "has N counted" (XEP-0198's h), "is closed with ERROR", "the store is
// up|stalled|down", "gets either order" (several templates). Of rooms: "makes ROOM as NICK [with
// field=value …]", "is in ROOM as NICK" (everyone forgets what that led to). A line "let word text"
// puts the text where {word} stands in the lines behind it.
//
// A scene that begins with "at home alone" is not for servers with clients: it stops the store or
// the clock, asks handlers of tests, or says what a stream lets nobody say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace server {

// Where dialogues are played: homes without sockets, or a server with clients.
class DialogueStage {
 public:
  virtual ~DialogueStage() = default;
  virtual void Account(const std::string& name) = 0;
  virtual void Friends(const std::string& a, const std::string& b, const std::string& how) = 0;
  virtual void Connect(const std::string& client) = 0;
  virtual void Send(const std::string& client, const std::string& xml) = 0;
  // What it gets next; nothing where nothing comes any more.
  virtual std::optional<std::string> Next(const std::string& client) = 0;
  // The same where something has to come: what is under way elsewhere is waited for.
  virtual std::optional<std::string> Awaited(const std::string& client) { return Next(client); }
  virtual void Leave(const std::string& client) = 0;
  virtual void Lose(const std::string& client) = 0;
  virtual void Hold(const std::string& client) = 0;
  virtual void Take(const std::string& client) = 0;
  virtual uint32_t Count(const std::string& client) = 0;
  virtual std::string Closed(const std::string& client) = 0;
  virtual void StoreIs(const std::string& state) = 0;
  virtual std::string domain() const = 0;
};

struct Scene {
  std::string title;
  int line = 0;
  struct Step {
    int line;
    std::string words;
    std::vector<std::string> xml;
  };
  std::vector<Step> steps;
};

std::vector<Scene> ReadScenes(const std::string& path);
// What went wrong, with its line; nothing where all is as it is written.
std::optional<std::string> Play(const Scene& scene, DialogueStage& stage);
// Why `xml` is not what `expected` says; nothing where it is.
std::optional<std::string> Mismatch(const std::string& expected, const std::string& xml);

}  // namespace server
